"""Makes the edges of a generated graph in chunks, on all cores."""

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from gnnflow.datasets.edge_makers import EdgeMaker
from gnnflow.errors import DataError

CHUNK_EDGES = 1 << 18
"""Edges that a thread makes at a time; small enough to stay in the processor's cache."""

ID_TYPE = np.dtype(np.int32)
"""Generated graphs have at most 2^31 vertices."""

Progress = Callable[[str, int, int], None]
"""Told what is going on, how much of it is done and how much there is."""


def edges_in_memory(make: EdgeMaker, num_edges: int, progress: Progress | None) -> NDArray[Any]:
    """Returns the edges as `[2, num_edges]` in memory."""
    edges = np.empty((2, num_edges), dtype=ID_TYPE)

    def keep(row: int, start: int, ends: NDArray[Any]) -> None:
        edges[row, start : start + len(ends)] = ends

    _make_chunks(make, num_edges, keep, progress)
    return edges


def edges_in_file(
    file: Path, make: EdgeMaker, num_edges: int, progress: Progress | None
) -> NDArray[Any]:
    """Writes the edges as a .npy file with plain writes and maps it for reading.

    A writable map would count towards the memory of the process, and a full disk would end the
    process with a signal instead of an error.
    """
    num_bytes = 2 * num_edges * ID_TYPE.itemsize
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(file.parent).free
        if free < num_bytes:
            raise DataError(
                f"{file.parent} has {free / 1e9:.2f} GB left, the edges need "
                f"{num_bytes / 1e9:.2f} GB; free some or work in another folder"
            )
        with file.open("wb") as out:
            header = {"descr": ID_TYPE.str, "fortran_order": False, "shape": (2, num_edges)}
            npy_format.write_array_header_1_0(out, header)
            out.flush()
            first_byte = out.tell()

            def write(row: int, start: int, ends: NDArray[Any]) -> None:
                place = first_byte + (row * num_edges + start) * ID_TYPE.itemsize
                rest = memoryview(ends.tobytes())
                while rest:
                    written = os.pwrite(out.fileno(), rest, place)
                    rest, place = rest[written:], place + written

            _make_chunks(make, num_edges, write, progress)
    except OSError as error:
        raise DataError(f"cannot write edges to {file}: {error}; use another folder") from error
    edges: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    return edges


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
