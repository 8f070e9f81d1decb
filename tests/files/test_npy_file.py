"""Heads of .npy files that do not fit what follows them."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.lib import format as npy_format

from gnnflow.files.npy_file import map_member, map_npy, read_archive

ARRAY = np.arange(6, dtype=np.int64)


def file_of(head: str, version: int = 1, data: bytes = ARRAY.tobytes()) -> bytes:
    size = len(head) + 1
    length = size.to_bytes(2 if version == 1 else 4, "little")
    return npy_format.magic(version, 0) + length + head.encode() + b"\n" + data


def head(descr: str = "'<i8'", shape: str = "(6,)", order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}"


BAD = {
    "no file": (b"", "it is no numpy file"),
    "another file": (b"PAR1" * 40, "it is no numpy file"),
    "an unknown version": (file_of(head(), 3), "version 3.0 of .npy is not read"),
    "code in the head": (file_of(head(shape="__import__('os').system('true')")), "no numpy file"),
    "an open bracket": (file_of("{'descr': ("), "it is no numpy file"),
    "deep brackets": (file_of("(" * 9000), "it is no numpy file"),
    "no such type": (file_of(head("'x'")), "it is no numpy file"),
    "objects": (file_of(head("'|O'")), "Python objects, which only a pickle could give"),
    "a record with objects": (file_of(head("[('a', '|O')]")), "Python objects"),
    "more than there is": (file_of(head(shape="(7,)")), r"takes \d+ bytes .* there are"),
    "more than memory": (file_of(head(shape="(1099511627776,)")), "there are"),
    "more than numbers": (file_of(head(shape="(9223372036854775808, 9)")), "there are"),
    "a product that wraps": (file_of(head(shape="(4294967296, 4294967296)")), "there are"),
    "less than nothing": (file_of(head(shape="(-6,)")), "there are"),
    "cut off": (file_of(head())[:-1], "there are"),
    "a shape of words": (file_of(head(shape="('6',)")), "it is no numpy file"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_refused(tmp_path: Path, name: str) -> None:
    content, message = BAD[name]
    (tmp_path / "array.npy").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        map_npy(tmp_path / "array.npy")
    assert "\n" not in str(caught.value)
    for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path = tmp_path / "archive.npz"
        with zipfile.ZipFile(path, "w", kind) as archive:
            archive.writestr("array.npy", content)
        with pytest.raises(ValueError, match="the array 'array' cannot be read"):
            read_archive(path)
        if kind == zipfile.ZIP_STORED:
            with pytest.raises(ValueError, match="the array 'array' cannot be read"):
                map_member(path, "array")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("order", ["False", "True"])
def test_what_fits_is_read(tmp_path: Path, version: int, order: str) -> None:
    content = file_of(head(shape="(2, 3)", order=order), version)
    (tmp_path / "array.npy").write_bytes(content)
    expected = np.load(io.BytesIO(content), allow_pickle=False)
    assert np.array_equal(map_npy(tmp_path / "array.npy"), expected)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("array.npy", content)
    assert np.array_equal(read_archive(tmp_path / "a.npz")["array"], expected)


def test_archives_hold_arrays_alone(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("readme.txt", "words")
    with pytest.raises(ValueError, match=r"holds 'readme\.txt', which is no \.npy file"):
        read_archive(tmp_path / "a.npz")
    (tmp_path / "a.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="it is no archive of numpy"):
        read_archive(tmp_path / "a.npz")


def test_an_archive_whose_directory_lies_about_a_size(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("array.npy", file_of(head(shape="(130000000,)"), data=bytes(8000)))
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        size = archive.infolist()[0].file_size.to_bytes(4, "little")
    place = content.rindex(size)
    content[place : place + 4] = (1 << 30).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read"):
        read_archive(path)


def test_a_copy_may_be_written_to(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ARRAY)
    mapped = map_npy(tmp_path / "a.npy", "c")
    mapped[0] = 7
    assert map_npy(tmp_path / "a.npy")[0] == 0
