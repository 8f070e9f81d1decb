"""The partition book: which part owns a vertex, from its global id alone."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gnnflow.array_types import IntArray
from gnnflow.errors import PartitionFormatError


class PartitionBook:
    """Maps global vertex ids to the part that owns them.

    Part `p` owns the contiguous range `[offsets[p], offsets[p + 1])`, so the whole book is
    `num_parts + 1` numbers, however large the graph is.
    """

    __slots__ = ("_ends", "offsets")

    def __init__(self, offsets: Sequence[int] | IntArray) -> None:
        """Takes the first global id of every part, and the number of vertices at the end.

        Args:
            offsets: int64 `[num_parts + 1]`, starting at 0 and never falling.

        Raises:
            PartitionFormatError: If the offsets are not such a sequence.
        """
        checked = np.array(offsets, dtype=np.int64)
        if checked.ndim != 1 or len(checked) < 2 or checked[0] != 0 or (np.diff(checked) < 0).any():
            raise PartitionFormatError(
                "partition offsets must start at 0 and never fall, with at least two entries, "
                f"got {checked.tolist()}; partition the graph again"
            )
        checked.flags.writeable = False
        self.offsets = checked
        self._ends = checked[1:]

    @property
    def num_parts(self) -> int:
        """Number of parts."""
        return len(self._ends)

    @property
    def num_vertices(self) -> int:
        """Number of vertices of the whole graph."""
        return int(self._ends[-1])

    def owner(self, global_ids: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """Returns the part that owns each vertex.

        Args:
            global_ids: Integers `[n]`.

        Returns:
            int32 `[n]`, in the order of the ids.

        Raises:
            IndexError: If an id is not in `[0, num_vertices)`.
        """
        ids = np.asarray(global_ids)
        if ids.size and (ids.min() < 0 or ids.max() >= self.num_vertices):
            raise IndexError(
                f"global ids must be in [0, {self.num_vertices}), got {ids.min()} to {ids.max()}"
            )
        return np.searchsorted(self._ends, ids, side="right").astype(np.int32)

    def local_ids(self, global_ids: npt.ArrayLike, part: int) -> IntArray:
        """Returns the ids within a part of vertices that the part owns.

        Args:
            global_ids: Integers `[n]`, all owned by `part`.
            part: The owner.

        Returns:
            int64 `[n]`, in the order of the ids.

        Raises:
            IndexError: If an id belongs to another part.
        """
        ids = np.asarray(global_ids, dtype=np.int64)
        low, high = self.range(part)
        if ids.size and (ids.min() < low or ids.max() >= high):
            raise IndexError(
                f"part {part} owns the global ids [{low}, {high}), got {ids.min()} to {ids.max()}"
            )
        return ids - low

    def range(self, part: int) -> tuple[int, int]:
        """Returns the first global id of a part and the one after its last."""
        if not 0 <= part < self.num_parts:
            raise IndexError(f"part must be in [0, {self.num_parts}), got {part}")
        return int(self.offsets[part]), int(self.offsets[part + 1])

    def __eq__(self, other: object) -> bool:
        """Two books are equal if their offsets are."""
        return isinstance(other, PartitionBook) and np.array_equal(self.offsets, other.offsets)

    def __hash__(self) -> int:
        """Follows the offsets."""
        return hash(self.offsets.tobytes())

    def __repr__(self) -> str:
        """Shows the offsets."""
        return f"PartitionBook({self.offsets.tolist()})"
