"""The `ldg` method: linear deterministic greedy, in several passes over the vertices.

Source: Stanton and Kliot, "Streaming graph partitioning for large distributed graphs", KDD 2012;
Nishimura and Ugander, "Restreaming graph partitioning", KDD 2013.
"""

import numpy as np
import numpy.typing as npt

from gnnflow import _kernels
from gnnflow.array_types import PartNumbers
from gnnflow.partition.adjacency import Adjacency
from gnnflow.partition.stage_progress import Progress, silent

SLACKS = (0.0, *np.linspace(0.25, 0.0, 9).tolist())
"""What each pass adds to the allowed imbalance. Parts that are full to the limit leave no room to
move in, so after the first pass the limit is loosened and drawn in step by step."""
SETTLED_FRACTION = 0.01
"""A pass that moves a smaller fraction of the vertices is the last."""

# Neighbours that a move out of an overfull part may lose: first the moves that cost nothing.
_MAX_LOSSES = (0, 1, 2, 4, 8, 16, 2**62)
# What another partitioner leaves above the limit by rounding is no reason to move vertices.
_REBALANCE_TOLERANCE = 1.002


def cut_with_ldg(
    adjacency: Adjacency,
    vertex_weights: npt.NDArray[np.int32],
    num_parts: int,
    *,
    seed: int,
    imbalance: float,
    progress: Progress = silent,
) -> PartNumbers:
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
    stream = _Stream(adjacency, vertex_weights, num_parts, seed)
    part = np.full(num_vertices, -1, dtype=np.int32)
    load = np.zeros((num_parts, num_constraints), dtype=np.int64)
    for number, slack in enumerate(SLACKS):
        num_moved = _kernels.ldg_pass(
            adjacency.indptr,
            adjacency.neighbors,
            stream.weights,
            stream.order,
            stream.capacity(imbalance + slack),
            part,
            load.reshape(-1),
        )
        progress("streaming vertices", number + 1, len(SLACKS))
        if num_moved < SETTLED_FRACTION * num_vertices:
            progress("streaming vertices", len(SLACKS), len(SLACKS))
            break
    return part


def rebalance(
    adjacency: Adjacency,
    vertex_weights: npt.NDArray[np.int32],
    part: PartNumbers,
    num_parts: int,
    *,
    seed: int,
    imbalance: float,
) -> PartNumbers:
    """Moves vertices out of parts that are too large, if possible to where their neighbours are.

    Parts may be too large each in another constraint, so a move has to make the sum of squared
    excesses smaller, not to find a part with room for everything.

    Args:
        adjacency: The graph.
        vertex_weights: int32 `[num_vertices, num_constraints]`, not negative.
        part: int32 `[num_vertices]`: the part of each vertex.
        num_parts: Number of parts.
        seed: Seed of the order in which vertices are looked at.
        imbalance: Largest part over mean part, for each constraint, that is aimed at.

    Returns:
        int32 `[num_vertices]`, as it was where nothing is too large or no move helps.
    """
    stream = _Stream(adjacency, vertex_weights, num_parts, seed)
    capacity = stream.capacity(imbalance)
    load = np.zeros((num_parts, vertex_weights.shape[1]), dtype=np.int64)
    for number, column in enumerate(vertex_weights.T):
        load[:, number] = np.bincount(part, weights=column, minlength=num_parts)
    moved = part.copy()
    for max_loss in _MAX_LOSSES:
        if float((load / capacity).max()) <= _REBALANCE_TOLERANCE:
            break
        _kernels.rebalance_pass(
            adjacency.indptr,
            adjacency.neighbors,
            stream.weights,
            stream.order,
            capacity,
            max_loss,
            moved,
            load.reshape(-1),
        )
    return moved


class _Stream:
    """The vertices of a graph in random order, and how much of each constraint a part takes."""

    def __init__(
        self,
        adjacency: Adjacency,
        vertex_weights: npt.NDArray[np.int32],
        num_parts: int,
        seed: int,
    ) -> None:
        self.weights = vertex_weights.reshape(-1)
        generator = np.random.default_rng(seed)
        self.order = generator.permutation(len(vertex_weights)).astype(adjacency.neighbors.dtype)
        self._mean = vertex_weights.sum(axis=0, dtype=np.int64) / num_parts

    def capacity(self, imbalance: float) -> npt.NDArray[np.float64]:
        """What a part takes of each constraint; never less than an equal share of whole units."""
        capacity: npt.NDArray[np.float64] = np.maximum(np.ceil(self._mean), imbalance * self._mean)
        return capacity
