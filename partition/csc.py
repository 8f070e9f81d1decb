"""In-neighbour lists from an edge list, in the order of the input, and the reverse of its edges."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow import _kernels
from gnnflow.array_types import IntArray
from gnnflow.partition.mapped_pages import release_pages
from gnnflow.partition.stage_progress import Progress, silent

_CHUNK_EDGES = 1 << 21


@dataclass(frozen=True, slots=True)
class Csc:
    """Neighbour lists of all vertices, one behind the other."""

    indptr: IntArray
    """int64 `[num_vertices + 1]`."""
    indices: npt.NDArray[Any]
    """int32 or int64 `[num_edges]`."""
    edge_id: IntArray | None
    """int64 `[num_edges]`: position of each edge in the input."""
    edge_weight: npt.NDArray[np.float32] | None = None
    """float32 `[num_edges]`: weight of each edge, if they have any."""

    def with_weights(self, weights: npt.NDArray[Any]) -> "Csc":
        """Puts weights, `[num_edges]` in the order of the input, beside the lists."""
        assert self.edge_id is not None
        beside = np.empty(len(self.edge_id), dtype=np.float32)
        for start in range(0, len(beside), _CHUNK_EDGES):
            piece = slice(start, start + _CHUNK_EDGES)
            beside[piece] = weights[self.edge_id[piece]]
        release_pages(weights)
        return replace(self, edge_weight=beside)


def id_dtype(num_vertices: int) -> np.dtype[Any]:
    """Returns the smaller of int32 and int64 that holds every vertex id."""
    return np.dtype(np.int32 if num_vertices <= np.iinfo(np.int32).max else np.int64)


def indptr_of(counts: IntArray) -> IntArray:
    """Returns where lists of these lengths start, and where the last ends."""
    indptr = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=indptr[1:])
    return indptr


def edge_chunks(
    edges: npt.NDArray[Any], stage: str, progress: Progress
) -> Iterator[tuple[int, npt.NDArray[Any], npt.NDArray[Any]]]:
    """Yields `(first edge, sources, destinations)`, contiguous, a few million edges at a time."""
    num_edges = edges.shape[1]
    for start in range(0, num_edges, _CHUNK_EDGES):
        stop = min(num_edges, start + _CHUNK_EDGES)
        chunk = edges[:, start:stop]
        yield start, np.ascontiguousarray(chunk[0]), np.ascontiguousarray(chunk[1])
        release_pages(edges)
        progress(stage, stop, num_edges)


def count_in_degrees(
    edges: npt.NDArray[Any], num_vertices: int, progress: Progress = silent
) -> IntArray:
    """Returns int64 `[num_vertices]`: how many edges end at each vertex."""
    in_degree = np.zeros(num_vertices, dtype=np.int64)
    for _, _, destinations in edge_chunks(edges, "counting edges", progress):
        _kernels.count_ids(destinations, None, in_degree)
    return in_degree


def build_csc(
    edges: npt.NDArray[Any],
    in_degree: IntArray,
    new_id: npt.NDArray[Any],
    *,
    keep_edge_ids: bool,
    progress: Progress = silent,
) -> Csc:
    """Sorts edges by destination, keeping the input order within a list.

    Args:
        edges: int32 or int64 `[2, num_edges]`, sources and destinations in original ids.
        in_degree: int64 `[num_vertices]`, by original id.
        new_id: int32 or int64 `[num_vertices]`, original to new id.
        keep_edge_ids: Whether to return where each edge was in the input.
        progress: Told about the edges done.

    Returns:
        Lists by new destination id, of new source ids.
    """
    counts = np.empty_like(in_degree)
    counts[new_id] = in_degree
    indptr = indptr_of(counts)
    cursor = indptr[:-1].copy()
    indices = np.empty(edges.shape[1], dtype=new_id.dtype)
    edge_id = np.empty(edges.shape[1], dtype=np.int64) if keep_edge_ids else None
    for first, sources, destinations in edge_chunks(edges, "sorting edges", progress):
        _kernels.scatter_edges(destinations, sources, new_id, cursor, indices, edge_id, first)
    return Csc(indptr, indices, edge_id)


def make_undirected(
    edges: npt.NDArray[Any],
    num_vertices: int,
    *,
    keep_edge_ids: bool,
    num_threads: int = 1,
    progress: Progress = silent,
) -> tuple[npt.NDArray[Any], IntArray | None]:
    """Adds the reverse of every edge, as PyG's `to_undirected` does, and merges equal edges.

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
