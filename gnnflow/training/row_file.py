"""A `.npy` file that several ranks write, each a range of its rows."""

import io
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gnnflow.comm import Context
from gnnflow.files.reserved_file import reserve


class RowFile:
    """Rows of an array on disk; every byte is written by one rank, without mapping the file.

    (Ranks on several machines may share a disk, but no pages of it.)
    """

    def __init__(
        self, path: Path, dtype: DTypeLike, shape: tuple[int, ...], start: int, ctx: Context
    ) -> None:
        """Makes the file on rank 0 and opens it on all; all ranks do so together.

        Args:
            path: the file.
            dtype: type of its numbers.
            shape: shape of the whole array.
            start: the first row that this rank writes.
            ctx: the job.
        """
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self.shape = shape
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": self.dtype.str, "fortran_order": False, "shape": shape}
        )
        row_bytes = self.dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))
        size_bytes = len(header.getvalue()) + row_bytes * shape[0]
        if ctx.rank == 0:
            with path.open("xb") as file:
                file.write(header.getvalue())
            reserve(path, size_bytes)  # a disk that is too small is found before the work
        ctx.barrier()
        self._file = path.open("r+b")
        self._file.seek(len(header.getvalue()) + start * row_bytes)

    def append(self, rows: NDArray[Any]) -> None:
        """Writes the next rows of this rank."""
        assert rows.shape[1:] == self.shape[1:], (rows.shape, self.shape)
        self._file.write(np.ascontiguousarray(rows, dtype=self.dtype).data)

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the file."""
        self._file.close()
