"""Where the per-vertex rows of a raw graph come from."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class RowSource(Protocol):
    """A table with one row per vertex whose rows are read, or computed, on demand.

    A feature matrix that is larger than memory is a `RowSource` that computes or maps its rows;
    everything that consumes a raw graph asks for rows in chunks and never for the whole table.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """`[num_vertices, ...]`."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type of the rows."""
        ...

    def rows(self, ids: NDArray[np.int64]) -> NDArray[Any]:
        """Returns the rows of `ids`, in that order, as `[len(ids), ...]`."""
        ...


class ArrayRows:
    """The rows of an array in memory or of a memory-mapped file."""

    def __init__(self, array: NDArray[Any], dtype: np.dtype[Any] | None = None) -> None:
        """Wraps `array`, of shape `[num_vertices, ...]`, without copying it.

        Args:
            array: The rows.
            dtype: Type that rows are cast to as they are read, by default that of the array.
        """
        self.array = array
        self._dtype = array.dtype if dtype is None else dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """`[num_vertices, ...]`."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type of the rows."""
        return self._dtype

    def rows(self, ids: NDArray[np.int64]) -> NDArray[Any]:
        """Returns a copy of the rows of `ids`, in that order, as `[len(ids), ...]`."""
        taken: NDArray[Any] = self.array[ids]
        return taken.astype(self._dtype, copy=False)


def float_rows(array: NDArray[Any]) -> ArrayRows:
    """Wraps features: float16 and float32 stay as they are, others are read as float32.

    A model computes in float32, and wider features would double what moves between ranks.
    """
    keep = array.dtype in (np.dtype(np.float16), np.dtype(np.float32))
    return ArrayRows(array, None if keep else np.dtype(np.float32))
