"""In-degrees of vertices without their self loops, as layers that weigh by degree take them."""

import numpy as np
from numpy.typing import NDArray

from gnnflow.errors import DataError
from gnnflow.graph import DistGraph
from gnnflow.partition import GraphPartition

IN_DEGREE = "in_degree_without_loops"
"""Name of the in-degrees that ranks hand each other."""
_EDGES_AT_ONCE = 1 << 22


def ensure_in_degree(graph: DistGraph) -> None:
    """Makes `graph.store(IN_DEGREE)` available, float32; all ranks call it.

    Calling it again does nothing.
    """
    try:
        graph.store(IN_DEGREE)
    except DataError:
        graph.serve(IN_DEGREE, in_degree_without_loops(graph.partition))


def in_degree_without_loops(partition: GraphPartition) -> NDArray[np.float32]:
    """`[num_vertices]` in-degrees of the inner vertices, self loops left out."""
    degree = np.diff(partition.indptr)
    for start in range(0, partition.num_edges, _EDGES_AT_ONCE):
        stop = min(start + _EDGES_AT_ONCE, partition.num_edges)
        first, last = np.searchsorted(partition.indptr, [start, stop - 1], side="right") - 1
        cuts = np.clip(partition.indptr[first : last + 2], start, stop)
        dst = np.repeat(np.arange(first, last + 1), np.diff(cuts))
        loops = dst[partition.indices[start:stop] == dst + partition.first_id]
        np.subtract.at(degree, loops, 1)
    return degree.astype(np.float32)
