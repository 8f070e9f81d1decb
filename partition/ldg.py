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

_MAX_REBALANCE_PASSES = 4
# What another partitioner leaves above the limit by rounding is no reason to move vertices.
_REBALANCE_TOLERANCE = 1.002

Parts = npt.NDArray[np.int32]


def cut_with_ldg(
    adjacency: Adjacency,
    vertex_weights: npt.NDArray[np.int32],
    num_parts: int,
    *,
    seed: int,
    imbalance: float,
    progress: Progress = silent,
) -> Parts:
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
    stream = _Stream(adjacency, vertex_weights, num_parts, seed=seed, imbalance=imbalance)
    part = np.full(num_vertices, -1, dtype=np.int32)
    load = np.zeros((num_parts, num_constraints), dtype=np.int64)
    for number in range(MAX_PASSES):
        num_moved = stream.run(part, load, only_overfull=False)
        progress("streaming vertices", number + 1, MAX_PASSES)
        if num_moved < SETTLED_FRACTION * num_vertices:
            progress("streaming vertices", MAX_PASSES, MAX_PASSES)
            break
    return part


def rebalance(
    adjacency: Adjacency,
    vertex_weights: npt.NDArray[np.int32],
    part: Parts,
    num_parts: int,
    *,
    seed: int,
    imbalance: float,
) -> Parts:
    """Moves vertices out of parts that are too large, to where their neighbours are.

    Args:
        adjacency: The graph.
        vertex_weights: int32 `[num_vertices, num_constraints]`, not negative.
        part: int32 `[num_vertices]`: the part of each vertex.
        num_parts: Number of parts.
        seed: Seed of the order in which vertices are looked at.
        imbalance: Largest part over mean part, for each constraint, that is aimed at.

    Returns:
        A better balanced `part`, or the same where nothing is too large or no move helps.
    """
    stream = _Stream(adjacency, vertex_weights, num_parts, seed=seed, imbalance=imbalance)
    load = np.zeros((num_parts, vertex_weights.shape[1]), dtype=np.int64)
    for number, column in enumerate(vertex_weights.T):
        load[:, number] = np.bincount(part, weights=column, minlength=num_parts)
    worst_before = float((load / stream.capacity).max())
    if worst_before <= _REBALANCE_TOLERANCE:
        return part
    moved = part.copy()
    for _ in range(_MAX_REBALANCE_PASSES):
        if not stream.run(moved, load, only_overfull=True):
            break
    return moved if float((load / stream.capacity).max()) < worst_before else part


class _Stream:
    """The vertices of a graph in random order, and how much of each constraint a part takes."""

    def __init__(
        self,
        adjacency: Adjacency,
        vertex_weights: npt.NDArray[np.int32],
        num_parts: int,
        *,
        seed: int,
        imbalance: float,
    ) -> None:
        self._adjacency = adjacency
        self._weights = vertex_weights.reshape(-1)
        generator = np.random.default_rng(seed)
        order = generator.permutation(len(vertex_weights))
        self._order = order.astype(adjacency.neighbors.dtype)
        mean = vertex_weights.sum(axis=0, dtype=np.int64) / num_parts
        self.capacity = np.maximum(np.ceil(mean), imbalance * mean)

    def run(self, part: Parts, load: npt.NDArray[np.int64], *, only_overfull: bool) -> int:
        """Goes through all vertices once; returns how many moved."""
        return _kernels.ldg_pass(
            self._adjacency.indptr,
            self._adjacency.neighbors,
            self._weights,
            self._order,
            self.capacity,
            only_overfull,
            part,
            load.reshape(-1),
        )
