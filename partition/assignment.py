"""From a part for every vertex to global ids."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow.partition.book import PartitionBook
from gnnflow.partition.csc import id_dtype


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who owns each vertex, and the global ids that follow from it."""

    part: npt.NDArray[np.int32]
    """int32 `[num_vertices]`: the part of each original id."""
    book: PartitionBook
    """Ranges of global ids."""
    original_id: npt.NDArray[Any]
    """`[num_vertices]`: global to original; ascending within a part."""
    global_id: npt.NDArray[Any]
    """`[num_vertices]`: original to global."""

    @classmethod
    def from_parts(cls, part: npt.NDArray[np.int32], num_parts: int) -> "Assignment":
        """Numbers the vertices part by part, by original id within a part.

        Args:
            part: int32 `[num_vertices]`, each in `[0, num_parts)`.
            num_parts: Number of parts, some of which may be empty.
        """
        dtype = id_dtype(len(part))
        sizes = np.bincount(part, minlength=num_parts)
        book = PartitionBook(np.concatenate(([0], np.cumsum(sizes))))
        original_id = np.empty(len(part), dtype=dtype)
        for number in range(num_parts):
            low, high = book.range(number)
            original_id[low:high] = np.flatnonzero(part == number)
        global_id = np.empty(len(part), dtype=dtype)
        global_id[original_id] = np.arange(len(part), dtype=dtype)
        return cls(part, book, original_id, global_id)
