"""What is written appears whole or not at all, and nothing is left beside it."""

import os
from pathlib import Path

import numpy as np
import pytest

from gnnflow.files.npy_file import npy_header
from gnnflow.files.whole_file import (
    clear_leftovers,
    clear_partial,
    remove_folder,
    replaced_file,
    replaced_folder,
    whole_folder,
    write_synced,
)


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


def test_a_folder_with_the_marker_is_as_good(tmp_path):
    path = tmp_path / "made"
    path.mkdir()
    (path / "half").write_text("")
    for text in ("first", "second"):
        with whole_folder(path, "marker") as scratch:
            (scratch / "marker").write_text(text)
    assert [(each.name, each.read_text()) for each in path.iterdir()] == [("marker", "first")]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("own", [False, True])
def test_a_folder_is_replaced_at_the_end(tmp_path, own):
    path = tmp_path / "made"
    for text in ("old", "new"):
        with replaced_folder(path, own=own) as staging:
            (staging / "a").write_text(text)
            assert staging.name.startswith(".made.unfinished")
            assert (str(os.getpid()) in staging.name) == own
            assert path.exists() == (text == "new")
        assert (path / "a").read_text() == text
    with pytest.raises(KeyError), replaced_folder(path, own=own) as staging:
        (staging / "a").write_text("half")
        raise KeyError
    with pytest.raises(OSError, match="made"), replaced_folder(path, own=own, replace=False):
        pass
    assert (path / "a").read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_synced_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    synced, real_sync, real_replace = [], os.fsync, os.replace

    def sync(descriptor):
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        real_sync(descriptor)

    def replace(source, target):
        synced.append(f"{Path(source).name} -> {Path(target).name}")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    for _ in range(2):
        with replaced_folder(tmp_path / "made", sync=True) as staging:
            write_synced(staging / "a", b"content")
    with replaced_file(tmp_path / "latest", sync=True) as partial:
        partial.write_text("made")
    with replaced_file(tmp_path / "unsynced") as partial:
        partial.write_text("made")
    assert synced == [
        *("a", ".made.unfinished -> made", tmp_path.name),
        *("a", "made -> .made.replaced", ".made.unfinished -> made", tmp_path.name),
        *("latest.part", "latest.part -> latest", "unsynced.part -> unsynced"),
    ]


def test_leftovers_of_a_kill_go_and_what_was_replaced_comes_back(tmp_path):
    for name in (".a.unfinished", ".b.removed", ".c.replaced", ".d.replaced", "d", "e"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    (tmp_path / ".latest.unfinished").write_text("half")
    (tmp_path / "latest.part").write_text("half")
    clear_leftovers(tmp_path)
    clear_partial(tmp_path / "latest")
    clear_partial(tmp_path / "best")
    remove_folder(tmp_path / "e")
    left = {each.name: (each / "file").read_text() for each in tmp_path.iterdir()}
    assert left == {"c": ".c.replaced", "d": "d"}


@pytest.mark.parametrize("dtype", ["float32", ">i2", "bool", "S3"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 2), (1, 0, 4)])
def test_a_header_is_that_of_numpy(tmp_path, dtype, shape):
    array = np.zeros(shape, dtype=dtype)
    np.save(tmp_path / "a.npy", array)
    assert (tmp_path / "a.npy").read_bytes() == npy_header(array.dtype, shape) + array.tobytes()
