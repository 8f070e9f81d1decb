"""Writing the in-edges of vertices beyond a part, for sampling that asks nobody."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow.array_types import IntArray
from gnnflow.partition.assignment import Assignment
from gnnflow.partition.csc import Csc, indptr_of
from gnnflow.partition.manifest import FileSpec
from gnnflow.partition.npy_writer import NpyWriter, write_array

HALO_TOPOLOGY_PREFIX = "halo_topology_"
"""How the names of the files begin."""
CHUNK_EDGES = 1 << 20
"""Entries of lists that are looked at together."""


def vertices_within(
    csc: Csc, inner: slice, halo: IntArray, num_hops: int, num_vertices: int
) -> IntArray:
    """Returns the vertices up to some hops outside a part, ascending.

    Args:
        csc: In-neighbour lists of all vertices, in global ids.
        inner: Global ids of the part.
        halo: Global ids of the first hop.
        num_hops: Hops, at least 1.
        num_vertices: Vertices of the whole graph.
    """
    reached = np.zeros(num_vertices, dtype=np.bool_)
    reached[halo] = True
    frontier = halo
    for _ in range(num_hops - 1):
        before = reached.copy()
        for positions in _list_chunks(csc.indptr, frontier):
            reached[csc.indices[positions]] = True
        reached[inner] = False
        frontier = np.flatnonzero(reached & ~before)
    return np.flatnonzero(reached)


def write_halo_topology(
    folder: Path, assignment: Assignment, csc: Csc, vertices: IntArray
) -> dict[str, FileSpec]:
    """Writes the lists of some vertices and returns the entries of the files.

    Args:
        folder: Folder of the part.
        assignment: Who owns what.
        csc: In-neighbour lists of all vertices, in global ids.
        vertices: Global ids, ascending.
    """
    indptr = indptr_of(csc.indptr[vertices + 1] - csc.indptr[vertices])
    contents: dict[str, npt.NDArray[Any]] = {
        "vertices": vertices,
        "indptr": indptr,
        "original_id": assignment.original_id[vertices].astype(np.int64),
    }
    entries: dict[str, npt.NDArray[Any]] = {"indices": csc.indices}
    if csc.edge_id is not None:
        entries["edge_id"] = csc.edge_id
    if csc.edge_weight is not None:
        entries["edge_weight"] = csc.edge_weight
    files = {}
    for name, array in contents.items():
        file = f"{HALO_TOPOLOGY_PREFIX}{name}.npy"
        files[file] = write_array(folder / file, array)
    for name, array in entries.items():
        file = f"{HALO_TOPOLOGY_PREFIX}{name}.npy"
        dtype = array.dtype if array.dtype.kind == "f" else np.dtype(np.int64)
        with NpyWriter(folder / file, dtype, (int(indptr[-1]),)) as writer:
            for positions in _list_chunks(csc.indptr, vertices):
                writer.append(array[positions])
            files[file] = writer.finish()
    return files


def _list_chunks(indptr: IntArray, vertices: IntArray) -> Iterator[IntArray]:
    """Yields the positions of the entries of some vertices' lists, in order.

    A piece has about `CHUNK_EDGES` entries, or one list if that is longer.
    """
    ends = np.cumsum(indptr[vertices + 1] - indptr[vertices])
    first = 0
    while first < len(vertices):
        done = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + CHUNK_EDGES, side="right")))
        starts = indptr[vertices[first:last]]
        own = indptr_of(indptr[vertices[first:last] + 1] - starts)
        yield np.arange(own[-1]) + np.repeat(starts - own[:-1], np.diff(own))
        first = last
