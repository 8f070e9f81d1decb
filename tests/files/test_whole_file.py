"""What is written appears whole or not at all, and nothing is left beside it."""

import os

import numpy as np
import pytest

from gnnflow.files.npy_file import npy_header
from gnnflow.files.whole_file import replaced_file, whole_folder


@pytest.mark.parametrize("shared", [False, True])
def test_a_file_is_replaced_at_the_end(tmp_path, shared):
    path = tmp_path / "a.json"
    path.write_text("old")
    with replaced_file(path, shared=shared) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
        assert (str(os.getpid()) in partial.name) == shared
    assert path.read_text() == "new"
    with pytest.raises(KeyError), replaced_file(path, shared=shared) as partial:
        partial.write_text("half")
        raise KeyError
    assert path.read_text() == "new"
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_appears_at_the_end(tmp_path):
    path = tmp_path / "made"
    with pytest.raises(KeyError), whole_folder(path) as scratch:
        (scratch / "a").write_text("half")
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with whole_folder(path) as scratch:
        (scratch / "a").write_text("whole")
        assert not path.exists()
    assert (path / "a").read_text() == "whole" and path.stat().st_mode & 0o777 == 0o755
    with pytest.raises(OSError, match="made"), whole_folder(path) as scratch:
        (scratch / "a").write_text("another")
    assert (path / "a").read_text() == "whole"
    assert [each.name for each in tmp_path.iterdir()] == ["made"]


@pytest.mark.parametrize("dtype", ["float32", ">i2", "bool", "S3"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 2), (1, 0, 4)])
def test_a_header_is_that_of_numpy(tmp_path, dtype, shape):
    array = np.zeros(shape, dtype=dtype)
    np.save(tmp_path / "a.npy", array)
    assert (tmp_path / "a.npy").read_bytes() == npy_header(array.dtype, shape) + array.tobytes()
