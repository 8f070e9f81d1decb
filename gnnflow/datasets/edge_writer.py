"""Makes the edges of a generated graph in chunks, on all cores."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.datasets.generated.edge_makers import EdgeMaker
from gnnflow.files.array_sink import ArraySink

CHUNK_EDGES = 1 << 18
"""Edges that a thread makes at a time; small enough to stay in the processor's cache."""

ID_TYPE = np.dtype(np.int32)
"""Generated graphs have at most 2^31 vertices."""

Progress = Callable[[str, int, int], None]
"""Told what is going on, how much of it is done and how much there is."""


def make_edges(
    make: EdgeMaker, num_edges: int, file: Path | None, progress: Progress | None
) -> NDArray[Any]:
    """Makes the edges, `[2, num_edges]`, in memory or in a .npy file that is mapped.

    Raises:
        DataError: The file cannot be written, or its disk has not enough room.
    """
    with ArraySink((2, num_edges), ID_TYPE, file) as sink:

        def write(row: int, start: int, ends: NDArray[Any]) -> None:
            sink.write(row * num_edges + start, ends)

        _make_chunks(make, num_edges, write, progress)
        return sink.array()


def _make_chunks(
    make: EdgeMaker,
    num_edges: int,
    sink: Callable[[int, int, NDArray[Any]], None],
    progress: Progress | None,
) -> None:
    """Makes all edges on all cores; `sink` gets row (0 or 1), number of the first edge, ends."""

    def one(start: int) -> int:
        stop = min(num_edges, start + CHUNK_EDGES)
        for row, ends in enumerate(make(start, stop)):
            sink(row, start, ends.astype(ID_TYPE))
        return stop

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for stop in pool.map(one, range(0, num_edges, CHUNK_EDGES)):
            if progress is not None:
                progress("making edges", stop, num_edges)
