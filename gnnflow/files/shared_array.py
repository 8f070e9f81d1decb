"""Arrays that several processes of a machine map: in shared memory, by the path of a file."""

import math
import mmap
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow.errors import DataError

_SHARED_MEMORY = Path("/dev/shm")


def new_shared_array(
    shape: tuple[int, ...], dtype: npt.DTypeLike, *, remedy: str = "free some"
) -> tuple[Path, npt.NDArray[Any]]:
    """Makes an array in shared memory that others can map by the path of its file.

    The memory lives as long as somebody maps it: the file can be removed once all have.

    Args:
        shape: of the array.
        dtype: of the array.
        remedy: what to do where there is no room, for the message.

    Raises:
        DataError: if there is no room for it.
    """
    num_bytes = _num_bytes(shape, dtype)
    folder = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None
    handle, name = tempfile.mkstemp(prefix="gnnflow-", dir=folder)
    try:
        if num_bytes:
            # Reserved at once: memory that is missing later would end the process without a word.
            os.posix_fallocate(handle, 0, num_bytes)
    except OSError as error:
        os.unlink(name)
        raise DataError(
            f"no room for {num_bytes} bytes that the ranks of this machine share in "
            f"{Path(name).parent} ({error.strerror}); {remedy}"
        ) from None
    finally:
        os.close(handle)
    return Path(name), _mapped(Path(name), shape, dtype, "r+b")


def map_shared_array(
    path: Path | str, shape: tuple[int, ...], dtype: npt.DTypeLike
) -> npt.NDArray[Any]:
    """Maps the array that another process has made, to read it."""
    return _mapped(Path(path), shape, dtype, "rb")


def _num_bytes(shape: tuple[int, ...], dtype: npt.DTypeLike) -> int:
    return math.prod(shape) * np.dtype(dtype).itemsize


def _mapped(
    path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike, mode: str
) -> npt.NDArray[Any]:
    num_bytes = _num_bytes(shape, dtype)
    if num_bytes == 0:
        return np.empty(shape, dtype=dtype)
    with open(path, mode) as file:
        access = mmap.ACCESS_READ if mode == "rb" else mmap.ACCESS_WRITE
        mapped = mmap.mmap(file.fileno(), num_bytes, access=access)
    return np.frombuffer(mapped, dtype=dtype).reshape(shape)
