"""Rows of a part for other ranks: how its owner answers when they ask."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow.array_types import ByteArray
from gnnflow.comm.buffers import BufferPool
from gnnflow.comm.messages import Message
from gnnflow.features.wire import Wire

# Rows travel in parts: the owner gathers one while the one before is on its way, and a part stays
# in the processor's cache between gathering and sending.
PART_BYTES = 2 << 20


def rows_per_part(row_bytes: int) -> int:
    """Returns how many rows the owner sends in one part, from their bytes on the way."""
    return max(1, PART_BYTES // row_bytes)


class RowAnswers:
    """Answers questions for rows of one array of this rank's part."""

    def __init__(
        self, source: Callable[[], npt.NDArray[Any]], pool: BufferPool, num_threads: int
    ) -> None:
        """Takes the rows of the part.

        Args:
            source: returns them, `[num_vertices, ...]`, contiguous.
            pool: where the buffers of the parts come from.
            num_threads: threads that gather one part.
        """
        self._source = source
        self._pool = pool
        self._num_threads = num_threads

    def __call__(self, message: Message) -> Iterator[ByteArray]:
        """Yields the rows asked for, part by part, as the question's wire code says."""
        source = self._source()
        wire = Wire(message.params[0])
        row_bytes = wire.row_bytes(source.nbytes // max(1, len(source)))
        rows = message.arrays[0].astype(np.int64, copy=False)
        step = rows_per_part(row_bytes)
        for start in range(0, len(rows), step):
            wanted = rows[start : start + step]
            part = self._pool.take(len(wanted) * row_bytes)
            wire.gather(part.reshape(len(wanted), row_bytes), source, wanted, self._num_threads)
            yield part
