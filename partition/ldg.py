"""The `ldg` method: linear deterministic greedy, in several passes over the vertices.

Source: Stanton and Kliot, "Streaming graph partitioning for large distributed graphs", KDD 2012;
Nishimura and Ugander, "Restreaming graph partitioning", KDD 2013.
"""

import numpy as np
import numpy.typing as npt

from gnnflow import _kernels
from gnnflow.partition.adjacency import Adjacency
from gnnflow.partition.progress import Progress, silent

MAX_PASSES = 10
"""Passes over the vertices; fewer if the parts settle."""
SETTLED_FRACTION = 0.01
"""A pass that moves a smaller fraction of the vertices is the last."""


def cut_with_ldg(
    adjacency: Adjacency,
    vertex_weights: npt.NDArray[np.int32],
    num_parts: int,
    *,
    seed: int,
    imbalance: float,
    progress: Progress = silent,
) -> npt.NDArray[np.int32]:
    """Puts each vertex where most of its neighbours are and room is left, again and again.

    The graph is read in random order; what is kept of the parts is one number per vertex.

    Args:
        adjacency: The graph.
        vertex_weights: int32 `[num_vertices, num_constraints]`, not negative.
        num_parts: Number of parts.
        seed: Seed of the order.
        imbalance: Largest part over mean part, for each constraint, that is aimed at.
        progress: Told about the passes done.

    Returns:
        int32 `[num_vertices]`: the part of each vertex.
    """
    num_vertices, num_constraints = vertex_weights.shape
    mean = vertex_weights.sum(axis=0, dtype=np.int64) / num_parts
    capacity = np.maximum(np.ceil(mean), imbalance * mean)
    order = np.random.default_rng(seed).permutation(num_vertices).astype(adjacency.neighbors.dtype)
    part = np.full(num_vertices, -1, dtype=np.int32)
    load = np.zeros((num_parts, num_constraints), dtype=np.int64)
    for number in range(MAX_PASSES):
        num_moved = _kernels.ldg_pass(
            adjacency.indptr,
            adjacency.neighbors,
            vertex_weights.reshape(-1),
            order,
            capacity,
            part,
            load.reshape(-1),
        )
        progress("streaming vertices", number + 1, MAX_PASSES)
        if num_moved < SETTLED_FRACTION * num_vertices:
            progress("streaming vertices", MAX_PASSES, MAX_PASSES)
            break
    return part
