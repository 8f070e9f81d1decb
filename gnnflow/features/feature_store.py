"""The contract of everything that hands out rows by vertex."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gnnflow.array_types import Ids, Rows


class FeatureStore(Protocol):
    """Rows of one per-vertex array of the whole graph, wherever they are."""

    @property
    def name(self) -> str:
        """Name of the array, as "x"."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of its numbers, as stored."""

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row; empty for one number per vertex."""

    def fetch(self, global_ids: Ids, out: Rows | None = None) -> Rows:
        """Returns the rows of vertices.

        Args:
            global_ids: int64 `[num_rows]`, in any order.
            out: where to put them, `[num_rows, *row_shape]`, contiguous; a new array by default.
                Filling the same memory again and again is much faster than new memory each time.

        Returns:
            The rows in the order of the ids: `out`, if it was given.
        """


@dataclass(slots=True)
class FetchCounts:
    """What fetches of a store cost so far."""

    fetches: int = 0
    """Calls."""
    rows: int = 0
    """Rows handed out."""
    rows_inner: int = 0
    """Of those, rows of this rank's own part."""
    rows_shared: int = 0
    """Rows read from the files of another part on this machine."""
    rows_remote: int = 0
    """Rows that came in messages."""
    bytes_remote: int = 0
    """Bytes of those rows as they crossed."""
    requests: int = 0
    """Messages that asked for them."""
    wait_s: float = 0.0
    """Seconds spent waiting for them."""


def output_for(
    store_name: str, dtype: np.dtype[Any], shape: Sequence[int], out: Rows | None
) -> Rows:
    """Returns `out` after checking it, or a new array.

    Raises:
        ValueError: if `out` cannot take the rows.
    """
    if out is None:
        return np.empty(shape, dtype=dtype)
    if out.shape != tuple(shape) or out.dtype != dtype or not out.flags.c_contiguous:
        raise ValueError(
            f"out must be a contiguous {dtype} array {list(shape)} for rows of '{store_name}', "
            f"got {out.dtype} {list(out.shape)}"
        )
    return out
