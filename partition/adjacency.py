"""The graph as partitioners see it: undirected, without self loops or parallel edges."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow import _kernels
from gnnflow.array_types import IntArray
from gnnflow.files.reserved_file import reserve
from gnnflow.partition.csc import edge_chunks, id_dtype, indptr_of
from gnnflow.partition.stage_progress import Progress, silent


@dataclass(frozen=True, slots=True)
class Adjacency:
    """Symmetric neighbour lists."""

    indptr: IntArray
    """int64 `[num_vertices + 1]`."""
    neighbors: npt.NDArray[Any]
    """int32 or int64 `[num_entries]`, ascending within a list; may be a memory-mapped file."""

    @property
    def num_vertices(self) -> int:
        """Number of vertices."""
        return len(self.indptr) - 1


def build_adjacency(
    edges: npt.NDArray[Any],
    num_vertices: int,
    scratch: Path,
    *,
    num_threads: int = 1,
    progress: Progress = silent,
) -> Adjacency:
    """Joins both directions of every edge and merges parallel edges.

    Args:
        edges: int32 or int64 `[2, num_edges]`.
        num_vertices: Number of vertices.
        scratch: Folder for the file that holds the lists.
        num_threads: Threads to sort with.
        progress: Told about the edges done.
    """
    counts = np.zeros(num_vertices, dtype=np.int64)
    for _, sources, destinations in edge_chunks(edges, "counting neighbours", progress):
        _kernels.count_both_ends(sources, destinations, counts)
    indptr = indptr_of(counts)
    cursor = indptr[:-1].copy()
    entries = np.empty(indptr[-1], dtype=id_dtype(num_vertices))
    for _, sources, destinations in edge_chunks(edges, "listing neighbours", progress):
        _kernels.scatter_both_ends(sources, destinations, cursor, entries)
    distinct = _kernels.sort_lists(indptr, entries, None, num_threads)
    packed_indptr = indptr_of(distinct)
    num_entries = int(packed_indptr[-1])
    neighbors: npt.NDArray[Any] = np.empty(0, dtype=entries.dtype)
    if num_entries:
        # In a file, the lists are shared with the process that runs METIS, and the system may
        # take their memory back while they are not needed.
        path = scratch / "neighbors"
        reserve(path, num_entries * entries.itemsize)
        mapped: np.memmap[Any, Any] = np.memmap(path, entries.dtype, "r+", shape=(num_entries,))
        neighbors = mapped
        _kernels.pack_lists(indptr, entries, packed_indptr, neighbors, num_threads)
    return Adjacency(packed_indptr, neighbors)


def induce(adjacency: Adjacency, vertices: IntArray) -> Adjacency:
    """Returns the adjacency among some vertices, renumbered in their order.

    Args:
        adjacency: The whole graph.
        vertices: int64 `[n]`, ascending.
    """
    dtype = adjacency.neighbors.dtype
    new_id = np.full(adjacency.num_vertices, -1, dtype=dtype)
    new_id[vertices] = np.arange(len(vertices), dtype=dtype)
    chosen = vertices.astype(dtype)
    return Adjacency(*_kernels.induce_lists(adjacency.indptr, adjacency.neighbors, chosen, new_id))
