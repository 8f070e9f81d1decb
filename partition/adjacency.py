"""The graph as partitioners see it: undirected, without self loops or parallel edges."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from gnnflow.partition.book import IntArray
from gnnflow.partition.csc import id_dtype


@dataclass(frozen=True, slots=True)
class Adjacency:
    """Symmetric neighbour lists, weighted by the number of edges that they stand for."""

    indptr: IntArray
    """int64 `[num_vertices + 1]`."""
    neighbors: npt.NDArray[Any]
    """int32 or int64 `[num_entries]`, ascending within a list."""
    weights: npt.NDArray[np.int32]
    """int32 `[num_entries]`: directed edges between the two vertices, both ways together."""

    @property
    def num_vertices(self) -> int:
        """Number of vertices."""
        return len(self.indptr) - 1


def build_adjacency(edges: npt.NDArray[Any], num_vertices: int) -> Adjacency:
    """Joins both directions of every edge and merges parallel edges.

    Args:
        edges: `[2, num_edges]`.
        num_vertices: Number of vertices.
    """
    ends = np.asarray(edges)
    ones = np.ones(ends.shape[1], dtype=np.int32)
    shape = (num_vertices, num_vertices)
    one_way = scipy.sparse.coo_array((ones, (ends[0], ends[1])), shape=shape).tocsr()
    both = (one_way + one_way.T).tocsr()
    both.setdiag(0)
    both.eliminate_zeros()
    both.sort_indices()
    return Adjacency(
        both.indptr.astype(np.int64), both.indices.astype(id_dtype(num_vertices)), both.data
    )


def induced(adjacency: Adjacency, vertices: IntArray) -> Adjacency:
    """Returns the adjacency among some vertices, renumbered in their order.

    Args:
        adjacency: The whole graph.
        vertices: int64 `[n]`, ascending.
    """
    matrix = scipy.sparse.csr_array(
        (adjacency.weights, adjacency.neighbors, adjacency.indptr),
        shape=(adjacency.num_vertices, adjacency.num_vertices),
    )
    kept = matrix[vertices][:, vertices]
    return Adjacency(
        kept.indptr.astype(np.int64), kept.indices.astype(id_dtype(len(vertices))), kept.data
    )
