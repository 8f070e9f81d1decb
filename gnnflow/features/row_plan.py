"""Which source the row of each vertex of a fetch comes from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow import _kernels
from gnnflow.array_types import Ids

ELSEWHERE = 255
"""Source of rows that another rank sends."""


@dataclass(frozen=True, slots=True)
class RowLayout:
    """Where the rows of each part are, as seen from one rank."""

    offsets: Ids
    """int64 `[num_parts + 1]`: first global id of each part."""
    source_of_part: npt.NDArray[np.uint8]
    """uint8 `[num_parts]`: number of the source that holds a part's rows, or `ELSEWHERE`."""

    @classmethod
    def make(cls, offsets: Ids, parts_at_hand: Sequence[int]) -> "RowLayout":
        """Numbers the parts whose rows can be read directly in the order given.

        Raises:
            ValueError: if there are more than 254.
        """
        if len(parts_at_hand) >= ELSEWHERE:
            raise ValueError(f"at most 254 parts can be read directly, got {len(parts_at_hand)}")
        source_of_part = np.full(len(offsets) - 1, ELSEWHERE, dtype=np.uint8)
        source_of_part[list(parts_at_hand)] = np.arange(len(parts_at_hand))
        return cls(np.ascontiguousarray(offsets, dtype=np.int64), source_of_part)

    def all_at_hand(self) -> bool:
        """Says whether the rows of every part can be read directly."""
        return not (self.source_of_part == ELSEWHERE).any()


@dataclass(slots=True)
class RowPlan:
    """The split of one fetch by source: parts at hand, other ranks, what a cache holds."""

    source_of: npt.NDArray[np.uint8]
    """uint8 `[num_rows]`: source of each row asked for, `ELSEWHERE` if another rank sends it."""
    row_of: Ids
    """int64 `[num_rows]`: its row there; for other ranks the row within their part."""
    remote_positions: Ids
    """int64 `[num_remote]`: the rows asked for that other ranks send, by rank and then in order."""
    remote_rows: Ids
    """int64 `[num_remote]`: their rows within the owners' parts."""
    remote_counts: Ids
    """int64 `[num_parts]`: how many each rank sends."""

    @classmethod
    def make(cls, global_ids: Ids, layout: RowLayout) -> "RowPlan":
        """Splits ids by the part that owns them.

        Raises:
            ValueError: if an id is not of the graph.
        """
        return cls(*_kernels.plan_rows(global_ids, layout.offsets, layout.source_of_part))

    @property
    def num_rows(self) -> int:
        """Number of rows asked for."""
        return len(self.row_of)

    @property
    def num_remote(self) -> int:
        """Number of rows that other ranks send."""
        return len(self.remote_positions)

    @property
    def num_owners(self) -> int:
        """Number of ranks that send rows."""
        return int(np.count_nonzero(self.remote_counts))

    def remote_arrive_in_order(self) -> bool:
        """Says whether other ranks send all rows, and one after another in the order asked."""
        if self.num_remote < self.num_rows:
            return False
        # By owner and then in order, so one owner's rows are in order; of several, one look tells.
        return self.num_owners == 1 or bool(
            (self.remote_positions[:-1] < self.remote_positions[1:]).all()
        )

    def take_from(self, source: int, positions: Ids, rows: npt.NDArray[Any]) -> None:
        """Names another source for some rows, as a cache or an array of rows that arrive.

        Args:
            source: its number, at least that of the sources at hand.
            positions: int64 `[n]`: which of the rows asked for.
            rows: integers `[n]`: where they are there.
        """
        self.source_of[positions] = source
        self.row_of[positions] = rows
