"""Making a graph undirected, as PyG's `to_undirected` does."""

from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow import _kernels
from gnnflow.partition.book import IntArray
from gnnflow.partition.csc import edge_chunks, id_dtype, indptr_of
from gnnflow.partition.stage_progress import Progress, silent


def make_undirected(
    edges: npt.NDArray[Any],
    num_vertices: int,
    *,
    keep_edge_ids: bool,
    num_threads: int = 1,
    progress: Progress = silent,
) -> tuple[npt.NDArray[Any], IntArray | None]:
    """Adds the reverse of every edge and merges edges that join the same two vertices.

    Args:
        edges: int32 or int64 `[2, num_edges]`.
        num_vertices: Number of vertices.
        keep_edge_ids: Whether to return which input edge each edge stands for.
        num_threads: Threads to sort with.
        progress: Told about the edges done.

    Returns:
        The edges, `[2, n]`, by destination and then source, each pair once per direction and a
        self loop once; and int64 `[n]`, the first input edge of that direction or, if there was
        none, the first of the other.
    """
    num_edges = edges.shape[1]
    counts = np.zeros(num_vertices, dtype=np.int64)
    for _, sources, destinations in edge_chunks(edges, "counting edges", progress):
        _kernels.count_ids(destinations, None, counts)
        _kernels.count_ids(sources, None, counts)
    indptr = indptr_of(counts)
    cursor = indptr[:-1].copy()
    entries = np.empty(2 * num_edges, dtype=id_dtype(num_vertices))
    edge_ids = np.empty(2 * num_edges, dtype=np.int64) if keep_edge_ids else None
    # All edges as they are come before all reversed ones, so the first of equal entries is the
    # one to keep.
    for first, sources, destinations in edge_chunks(edges, "adding edges", progress):
        _kernels.scatter_edges(destinations, sources, None, cursor, entries, edge_ids, first)
    for first, sources, destinations in edge_chunks(edges, "adding reverse edges", progress):
        _kernels.scatter_edges(sources, destinations, None, cursor, entries, edge_ids, first)
    distinct = _kernels.sort_lists(indptr, entries, edge_ids, num_threads)
    packed_indptr = indptr_of(distinct)
    both = np.empty((2, packed_indptr[-1]), dtype=entries.dtype)
    _kernels.pack_lists(indptr, entries, packed_indptr, both[0], num_threads)
    both[1] = np.repeat(np.arange(num_vertices, dtype=entries.dtype), distinct)
    if edge_ids is None:
        return both, None
    packed_ids = np.empty(both.shape[1], dtype=np.int64)
    _kernels.pack_lists(indptr, edge_ids, packed_indptr, packed_ids, num_threads)
    return both, packed_ids
