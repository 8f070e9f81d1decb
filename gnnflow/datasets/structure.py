"""Features made from the edges alone, for graphs that come without."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.datasets.raw_graph import RawGraph
from gnnflow.datasets.raw_graph_checks import check_edges, chunks
from gnnflow.datasets.row_source import ArrayRows, RowSource

logger = logging.getLogger(__name__)

NUM_DEGREE_BUCKETS = 16
"""Buckets of a degree, by its number of binary digits; the last holds all larger ones."""

NUM_LEARNED_FEATURES = 64
"""Width of learned features."""

NUM_SAMPLED_DIRECTIONS = 16
"""Directions beyond the wanted ones that the randomised decomposition keeps for its accuracy."""

NUM_PROPAGATIONS = 3
"""Rounds of averaging over neighbours after the decomposition."""


class DegreeRows:
    """Features from the number of in- and out-neighbours, computed as they are asked for.

    Each of the two gives a one-hot bucket of its number of binary digits and `log(1 + degree)`.
    """

    def __init__(self, edges: NDArray[Any], num_vertices: int) -> None:
        """Counts the degrees.

        Args:
            edges: `[2, num_edges]`, source and destination.
            num_vertices: Vertices are numbered from 0 to `num_vertices - 1`.
        """
        self._degrees = np.zeros((2, num_vertices), dtype=np.int64)
        for start, stop in chunks(edges.shape[1], 2 * edges.itemsize):
            for row in (0, 1):
                self._degrees[row] += np.bincount(edges[row, start:stop], minlength=num_vertices)

    @property
    def shape(self) -> tuple[int, ...]:
        """`[num_vertices, num_features]`."""
        return (self._degrees.shape[1], 2 * (NUM_DEGREE_BUCKETS + 1))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the features, float32."""
        return np.dtype(np.float32)

    def rows(self, ids: NDArray[np.int64]) -> NDArray[Any]:
        """Returns the features of `ids`, in that order."""
        blocks = []
        for degrees in self._degrees[:, ids]:
            digits = np.frexp(degrees.astype(np.float64))[1]  # 0 for degree 0, 1 for 1, 2 for 2-3
            bucket = np.minimum(digits, NUM_DEGREE_BUCKETS - 1)
            block = np.zeros((len(ids), NUM_DEGREE_BUCKETS + 1), dtype=np.float32)
            block[np.arange(len(ids)), bucket] = 1
            block[:, -1] = np.log1p(degrees)
            blocks.append(block)
        return np.concatenate(blocks, axis=1)


def learned_rows(edges: NDArray[Any], num_vertices: int, seed: int) -> ArrayRows:
    """Learns an embedding of the vertices from the edges, without labels.

    The matrix of log co-occurrence of neighbours is factorised by a randomised decomposition, and
    the factor is smoothed over neighbours. Both directions of an edge count. Memory is about
    `2 KB * num_vertices + 48 bytes * num_edges`.

    Source: Zhang et al., ProNE: Fast and Scalable Network Representation Learning, IJCAI 2019
    (with plain averaging in place of the band-pass filter); Halko et al., Finding Structure with
    Randomness, SIAM Review 2011.

    Args:
        edges: `[2, num_edges]`, source and destination.
        num_vertices: Vertices are numbered from 0 to `num_vertices - 1`.
        seed: Seed of the decomposition.

    Returns:
        `[num_vertices, min(64, num_vertices)]` float32, each row of length 1; 0 for a vertex
        without neighbours.
    """
    from scipy import sparse

    ends = np.concatenate([edges, edges[::-1]], axis=1)
    weights = np.ones(ends.shape[1], dtype=np.float32)
    adjacency = sparse.coo_array((weights, tuple(ends)), shape=(num_vertices,) * 2).tocsr()
    degrees = np.asarray(adjacency.sum(axis=1)).ravel()
    transition = adjacency.multiply(1 / np.maximum(degrees, 1)[:, None]).tocsr()
    noise = np.maximum(np.asarray(transition.sum(axis=0)).ravel(), 1e-9) ** 0.75
    noise /= noise.sum()
    proximity = transition.copy()
    proximity.data = np.log(np.maximum(transition.data, 1e-9) / noise[transition.indices])
    proximity.data = np.maximum(proximity.data, 0).astype(np.float32)

    generator = np.random.default_rng(seed)
    width = min(NUM_LEARNED_FEATURES, num_vertices)
    num_directions = min(width + NUM_SAMPLED_DIRECTIONS, num_vertices)
    basis = proximity @ generator.standard_normal((num_vertices, num_directions), np.float32)
    for _ in range(2):
        basis = proximity @ (proximity.T @ np.linalg.qr(basis)[0])
    basis = np.linalg.qr(basis)[0]
    left, values, _ = np.linalg.svd((proximity.T @ basis).T, full_matrices=False)
    embedding = (basis @ left[:, :width]) * np.sqrt(values[:width])
    smoothed = embedding
    for _ in range(NUM_PROPAGATIONS):
        smoothed = 0.5 * smoothed + 0.5 * (transition @ smoothed)
    lengths = np.linalg.norm(smoothed, axis=1, keepdims=True)
    return ArrayRows((smoothed / np.maximum(lengths, 1e-12)).astype(np.float32))


def _degree_rows(edges: NDArray[Any], num_vertices: int, seed: int) -> DegreeRows:
    return DegreeRows(edges, num_vertices)


FEATURES: dict[str, Callable[[NDArray[Any], int, int], RowSource]] = {
    "degree": _degree_rows,
    "learned": learned_rows,
}
"""Makers of features, by name; they get edges, number of vertices and seed."""


def with_features(graph: RawGraph, kind: str | None, seed: int) -> RawGraph:
    """Gives a graph features that are made from its edges.

    Args:
        graph: The graph.
        kind: One of `FEATURES`; None takes `degree`, with a warning.
        seed: Seed of `learned` ones.

    Raises:
        DataError: An edge names no vertex.
    """
    check_edges(graph.edges, graph.num_vertices)
    if kind is None:
        kind = "degree"
        logger.warning(
            "no features given: using %s ones, made from the number of neighbours; "
            "'learned' ones tell vertices apart better",
            kind,
        )
    made = FEATURES[kind](graph.edges, graph.num_vertices, seed)
    return replace(graph, arrays={**graph.arrays, "x": made})
