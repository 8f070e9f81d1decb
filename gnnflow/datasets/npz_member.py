"""Arrays of .npz archives that stay on disk."""

import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

_LOCAL_HEADER_BYTES = 30


def map_member(file: Path, name: str) -> NDArray[Any] | None:
    """Maps an array of an archive, as `np.savez` writes it; None where it is compressed.

    Raises:
        KeyError: The archive has no array of this name.
        ValueError: The array holds Python objects.
    """
    with zipfile.ZipFile(file) as archive:
        member = archive.getinfo(f"{name}.npy")
    if member.compress_type != zipfile.ZIP_STORED:
        return None
    with file.open("rb") as stream:
        stream.seek(member.header_offset)
        local_header = stream.read(_LOCAL_HEADER_BYTES)
        lengths = [int.from_bytes(local_header[at : at + 2], "little") for at in (26, 28)]
        stream.seek(sum(lengths), os.SEEK_CUR)
        version = npy_format.read_magic(stream)
        read_header = (
            npy_format.read_array_header_1_0
            if version == (1, 0)
            else npy_format.read_array_header_2_0
        )
        shape, in_columns, dtype = read_header(stream)
        offset = stream.tell()
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be mapped, they would need pickle")
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.memmap(file, dtype, "r", offset=offset, shape=shape, order="F" if in_columns else "C")


def map_or_unpack_member(file: Path, name: str) -> NDArray[Any]:
    """Maps an array of an archive; a compressed one is first unpacked beside the archive, once.

    Raises:
        KeyError: The archive has no array of this name.
        ValueError: The array holds Python objects.
    """
    mapped = map_member(file, name)
    if mapped is not None:
        return mapped
    unpacked = file.with_name(f"{file.stem}.{name}.npy")
    if not unpacked.exists():
        partial = unpacked.with_suffix(".partial")
        with zipfile.ZipFile(file) as archive, archive.open(f"{name}.npy") as source:
            with partial.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 24)
        partial.replace(unpacked)
    array: NDArray[Any] = np.load(unpacked, mmap_mode="r", allow_pickle=False)
    return array
