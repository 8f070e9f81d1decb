"""Arrays of .npy files and .npz archives, read by headers that were compared with the file first.

A header may name any type and any shape. What does not fit the bytes that are there is refused
before memory is asked for, and Python objects always are: reading them would unpickle.
"""

import io
import math
import os
import shutil
import tokenize
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, NamedTuple

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import DTypeLike, NDArray

from gnnflow.errors import one_line
from gnnflow.files.regular_file import open_regular
from gnnflow.files.whole_file import replaced_file

_LOCAL_HEADER_BYTES = 30
_ENDING = ".npy"
# The header is a line of Python's literals, which numpy gives to Python's own parser.
_HEADER_ERRORS = (ValueError, EOFError, SyntaxError, TypeError, OverflowError, tokenize.TokenError)
_ARCHIVE_ERRORS = (
    *(OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error),
    *(NotImplementedError, RuntimeError),  # packed in another way; encrypted
)


class NpyHeader(NamedTuple):
    """What the head of a .npy file says."""

    shape: tuple[int, ...]
    """Shape of the array."""
    in_columns: bool
    """Whether it is stored column by column."""
    dtype: np.dtype[Any]
    """Type of its elements; never Python objects."""
    size_bytes: int
    """Size of the head itself: where the elements start."""


def npy_header(dtype: DTypeLike, shape: tuple[int, ...]) -> bytes:
    """The head of a .npy file for an array that is stored row by row, as version 1.0 has it."""
    stream = io.BytesIO()
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    npy_format.write_array_header_1_0(stream, header)
    return stream.getvalue()


def read_npy_header(stream: IO[bytes], file_bytes: int) -> NpyHeader:
    """Reads the head of a .npy file and compares it with the size of the file.

    Args:
        stream: The file, at its first byte; afterwards at the first element.
        file_bytes: Size of the file.

    Raises:
        ValueError: It is no such file, holds Python objects, or ends before its array does.
    """
    start = stream.tell()
    try:
        version = npy_format.read_magic(stream)
        read = {
            (1, 0): npy_format.read_array_header_1_0,
            (2, 0): npy_format.read_array_header_2_0,
        }.get(version)
        if read is None:
            raise ValueError(f"version {version[0]}.{version[1]} of .npy is not read")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # files that Python 2 wrote are fine
            shape, in_columns, dtype = read(stream)
    except _HEADER_ERRORS as error:
        raise ValueError(f"it is no numpy file ({one_line(error)})") from None
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which only a pickle could give")
    header = NpyHeader(tuple(shape), bool(in_columns), dtype, stream.tell() - start)
    # Python's numbers: numpy's would wrap around.
    needed = header.size_bytes + math.prod(header.shape) * dtype.itemsize
    if min(header.shape, default=0) < 0 or needed > file_bytes or math.prod(shape) >= 2**63:
        raise ValueError(
            f"{dtype.str} of shape {list(header.shape)} takes {needed} bytes with its header, and "
            f"there are {file_bytes}"
        )
    return header


def map_npy(file: Path, mode: Literal["r", "c"] = "r") -> NDArray[Any]:
    """Maps the array of a .npy file.

    Args:
        file: The file.
        mode: `r` for reading, `c` for a copy of whatever is written to.

    Raises:
        OSError: The file cannot be opened.
        ValueError: As `read_npy_header`.
    """
    with open_regular(file) as stream:
        header = read_npy_header(stream, os.fstat(stream.fileno()).st_size)
        return _map(stream, header, header.size_bytes, mode)


def map_member(file: Path, name: str) -> NDArray[Any] | None:
    """Maps an array of an archive, as `np.savez` writes it; None where it is compressed.

    Raises:
        ValueError: The archive has no array of this name, is damaged, or holds Python objects.
    """
    try:
        with open_regular(file) as stream:
            with zipfile.ZipFile(stream) as archive:
                member = archive.getinfo(f"{name}{_ENDING}")
            if member.compress_type != zipfile.ZIP_STORED:
                return None
            stream.seek(member.header_offset)
            local_header = stream.read(_LOCAL_HEADER_BYTES)
            lengths = [int.from_bytes(local_header[at : at + 2], "little") for at in (26, 28)]
            first_byte = member.header_offset + _LOCAL_HEADER_BYTES + sum(lengths)
            stream.seek(first_byte)
            left_bytes = os.fstat(stream.fileno()).st_size - first_byte
            header = read_npy_header(stream, min(member.file_size, left_bytes))
            return _map(stream, header, first_byte + header.size_bytes, "r")
    except _ARCHIVE_ERRORS as error:
        raise ValueError(f"the array '{name}' cannot be read: {one_line(error)}") from error


def read_member(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Reads an array of an archive into memory.

    Raises:
        ValueError: As `map_member`.
    """
    try:
        member = archive.getinfo(f"{name}{_ENDING}")
        with archive.open(member) as stream:
            header = read_npy_header(stream, member.file_size)
            # Only what was really unpacked is held: the archive's directory may lie about sizes.
            data = stream.read(math.prod(header.shape) * header.dtype.itemsize)
        array = np.frombuffer(data, header.dtype, math.prod(header.shape)).copy()
        return array.reshape(header.shape, order="F" if header.in_columns else "C")
    except _ARCHIVE_ERRORS as error:
        raise ValueError(f"the array '{name}' cannot be read: {one_line(error)}") from error


def member_names(file: Path) -> list[str]:
    """Returns the names of the arrays in an archive.

    Raises:
        OSError: The file cannot be opened.
        ValueError: It is no archive, or holds something other than arrays.
    """
    try:
        with open_regular(file) as stream, zipfile.ZipFile(stream) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise ValueError(f"it is no archive of numpy ({one_line(error)})") from error
    for name in names:
        if not name.endswith(_ENDING):
            raise ValueError(f"the archive holds '{name}', which is no {_ENDING} file")
    return [name.removesuffix(_ENDING) for name in names]


def read_archive(file: Path) -> dict[str, NDArray[Any]]:
    """Reads all arrays of an archive into memory.

    Raises:
        OSError: The file cannot be opened.
        ValueError: It is no archive, is damaged, or holds something other than arrays of numbers.
    """
    names = member_names(file)
    with open_regular(file) as stream, zipfile.ZipFile(stream) as archive:
        return {name: read_member(archive, name) for name in names}


def _map(stream: BinaryIO, header: NpyHeader, offset: int, mode: Literal["r", "c"]) -> NDArray[Any]:
    order: Literal["F", "C"] = "F" if header.in_columns else "C"
    if math.prod(header.shape) * header.dtype.itemsize == 0:
        return np.empty(header.shape, header.dtype, order)  # no bytes can be mapped
    return np.memmap(stream, header.dtype, mode, offset, header.shape, order)


def map_or_unpack_member(file: Path, name: str) -> NDArray[Any]:
    """Maps an array of an archive; a compressed one is first unpacked beside the archive, once.

    Raises:
        ValueError: The archive has no array of this name, is damaged, or holds Python objects.
    """
    mapped = map_member(file, name)
    if mapped is not None:
        return mapped
    unpacked = file.with_name(f"{file.stem}.{name}.npy")
    if not unpacked.exists():
        with zipfile.ZipFile(file) as archive, archive.open(f"{name}.npy") as source:
            with replaced_file(unpacked) as partial, partial.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 24)
    return map_npy(unpacked)
