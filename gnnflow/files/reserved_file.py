"""Files that are written through a map, with their room on the disk taken first.

A store into a mapped page for which the disk has no room ends the process with SIGBUS, without a
word; a reservation that fails is an error that can be told.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from gnnflow.files.npy_file import npy_header


def reserve(path: Path, num_bytes: int) -> None:
    """Makes the file as long as that, if it is shorter, with all of its room on the disk.

    Raises:
        OSError: The disk has not enough room; the error names the file.
    """
    with path.open("ab") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, max(num_bytes, 1))
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None


def new_mapped_array(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """Makes a `.npy` file and maps it for writing.

    Raises:
        OSError: The disk has not enough room; the error names the file.
    """
    kind = np.dtype(dtype)
    with path.open("xb") as file:
        head_bytes = file.write(npy_header(kind, shape))
    reserve(path, head_bytes + int(np.prod(shape, dtype=np.int64)) * kind.itemsize)
    mapped: np.memmap[Any, Any] = np.load(path, mmap_mode="r+", allow_pickle=False)
    return mapped
