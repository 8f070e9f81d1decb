"""Writing a `.npy` file piece by piece, hashed on the way."""

import hashlib
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow.files.npy_file import npy_header
from gnnflow.partition.manifest import FileSpec
from gnnflow.partition.reader import fingerprint


class NpyWriter:
    """A `.npy` file whose rows arrive in order, never all in memory.

    As a context manager it closes the file; `finish` says what was written.
    """

    def __init__(self, path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> None:
        """Creates the file and writes its header.

        Args:
            path: The file; must not exist.
            dtype: Type of the elements.
            shape: Shape of the whole array, known beforehand.
        """
        self._path = path
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._shape = shape
        self._rows_written = 0
        self._digest = hashlib.sha256()
        self._size_bytes = 0
        self._file = path.open("xb", buffering=0)
        self._write(npy_header(self._dtype, shape))

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Writes further rows.

        Args:
            rows: `[n, ...]`, of the trailing shape given at the start; cast to the file's dtype.
        """
        assert rows.shape[1:] == self._shape[1:], (rows.shape, self._shape)
        self._rows_written += len(rows)
        contiguous = np.ascontiguousarray(rows, dtype=self._dtype)
        self._write(contiguous.reshape(-1).view(np.uint8).data)

    def finish(self) -> FileSpec:
        """Closes the file and returns its entry for the manifest."""
        assert self._rows_written == self._shape[0], (self._rows_written, self._shape)
        self._file.close()
        return FileSpec(
            dtype=self._dtype.str,
            shape=self._shape,
            size_bytes=self._size_bytes,
            fingerprint=fingerprint(self._path),
            sha256=self._digest.hexdigest(),
        )

    def __enter__(self) -> "NpyWriter":
        """Returns the writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the file."""
        self._file.close()

    def _write(self, data: bytes | memoryview) -> None:
        self._digest.update(data)
        self._size_bytes += len(data)
        view = memoryview(data)
        try:
            while len(view):
                view = view[self._file.write(view) :]
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from None


def write_array(path: Path, array: npt.NDArray[Any]) -> FileSpec:
    """Writes a whole array and returns its entry for the manifest."""
    with NpyWriter(path, array.dtype, array.shape) as writer:
        step = max(1, (1 << 24) // max(1, array.nbytes // max(1, len(array))))
        for start in range(0, len(array), step):
            writer.append(array[start : start + step])
        return writer.finish()
