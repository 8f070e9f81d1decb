"""An array that is filled in any order, in memory or in a file."""

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gnnflow.errors import DataError
from gnnflow.files.npy_file import npy_header


class ArraySink:
    """Takes pieces of an array; afterwards gives the whole.

    A file is written with plain writes and mapped for reading in the end: a writable map would
    count towards the memory of the process, and a full disk would end the process with a signal
    instead of an error. Pieces may come from several threads.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], file: Path | None) -> None:
        """Makes room for the array.

        Args:
            shape: Shape of the whole.
            dtype: Type of its elements.
            file: .npy file to write; None keeps the array in memory.

        Raises:
            DataError: The file cannot be written, or its disk has not enough room.
        """
        num_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        file = file if num_bytes else None  # an empty file cannot be mapped
        self._file, self._dtype = file, dtype
        if file is None:
            self._array: NDArray[Any] = np.empty(shape, dtype=dtype)
            self._flat = self._array.reshape(-1)
            return
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(file.parent).free
            if free < num_bytes:
                raise DataError(
                    f"{file.parent} has {free / 1e9:.2f} GB left, {file.name} needs "
                    f"{num_bytes / 1e9:.2f} GB; free some or work in another folder"
                )
            self._out = file.open("wb")
            self._first_byte = self._out.write(npy_header(dtype, shape))
            self._out.flush()
            os.truncate(self._out.fileno(), self._first_byte + num_bytes)
        except OSError as error:
            raise _cannot_write(file, error) from error

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the file."""
        if self._file is not None:
            self._out.close()

    def write(self, start: int, piece: NDArray[Any]) -> None:
        """Puts a piece at element `start` of the array, counted as if it were flat.

        Raises:
            DataError: The disk is full or fails.
        """
        if self._file is None:
            self._flat[start : start + piece.size] = piece.reshape(-1)
            return
        place = self._first_byte + start * self._dtype.itemsize
        rest = memoryview(np.ascontiguousarray(piece, dtype=self._dtype).tobytes())
        try:
            while rest:
                written = os.pwrite(self._out.fileno(), rest, place)
                rest, place = rest[written:], place + written
        except OSError as error:
            raise _cannot_write(self._file, error) from error

    def array(self) -> NDArray[Any]:
        """Returns the array, mapped if it is in a file."""
        if self._file is None:
            return self._array
        mapped: NDArray[Any] = np.load(self._file, mmap_mode="r", allow_pickle=False)
        return mapped


def _cannot_write(file: Path, error: OSError) -> DataError:
    return DataError(f"cannot write {file}: {error}; use another folder")
