"""Other samplers, each a side of `benchmarks.sampling`."""

import importlib.util
from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.hyperparameters import Hyperparameters
from benchmarks.peers.process import PeerProcess


class Measured(NamedTuple):
    """What sampling some minibatches took and gave."""

    seconds: float
    num_edges: int
    num_vertices: int


Sampler = Callable[[int], tuple[int, int]]
"""Samples the minibatch of this number; returns edges and vertices."""


def measure(sample: Sampler, minibatches: range) -> Measured:
    """Samples minibatches one after the other."""
    num_edges = num_vertices = 0
    begin = perf_counter()
    for number in minibatches:
        edges, vertices = sample(number)
        num_edges += edges
        num_vertices += vertices
    return Measured(perf_counter() - begin, num_edges, num_vertices)


def measure_peer(
    process: PeerProcess, hyperparameters: Hyperparameters, minibatches: range
) -> Measured:
    """Has a peer sample minibatches."""
    bounds = {"begin": minibatches.start, "end": minibatches.stop}
    answer = process.ask({"hyperparameters": hyperparameters.to_json(), **bounds})
    return Measured(float(answer["seconds"]), int(answer["num_edges"]), int(answer["num_vertices"]))


def torch_sparse_sampler(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    seeds: Callable[[int], NDArray[np.int64]],
    hyperparameters: Hyperparameters,
) -> Sampler | str:
    """Returns PyG's sampler by torch-sparse, or why there is none."""
    if importlib.util.find_spec("torch_sparse") is None:
        return "torch-sparse has no build on the index and takes half an hour to compile"
    import torch
    import torch_sparse  # noqa: F401  registers the operator

    fanouts, replace = list(hyperparameters.fanout), hyperparameters.replace
    colptr, row = torch.from_numpy(indptr), torch.from_numpy(indices.astype(np.int64))

    def sample(number: int) -> tuple[int, int]:
        vertices, edge_row, _, _ = torch.ops.torch_sparse.neighbor_sample(
            colptr, row, torch.from_numpy(seeds(number)), fanouts, replace, True
        )
        return len(edge_row), len(vertices)

    return sample


def numpy_sampler(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    seeds: Callable[[int], NDArray[np.int64]],
    hyperparameters: Hyperparameters,
) -> Sampler:
    """Returns a sampler in plain numpy: every neighbour gets a number, the lowest ones stay."""
    assert not hyperparameters.replace, "it draws no neighbour twice"
    number_of = np.full(len(indptr) - 1, -1, dtype=np.int64)

    def sample(number: int) -> tuple[int, int]:
        rng = np.random.default_rng(number)
        frontier = seeds(number)
        found = [frontier]
        number_of[frontier] = np.arange(len(frontier))
        num_vertices, num_edges = len(frontier), 0
        for fanout in hyperparameters.fanout:
            degree = indptr[frontier + 1] - indptr[frontier]
            ends = np.cumsum(degree)
            within = np.arange(ends[-1]) - np.repeat(ends - degree, degree)
            owner = np.repeat(np.arange(len(frontier)), degree)
            order = np.lexsort((rng.random(ends[-1]), owner))
            kept = order[within < fanout]
            neighbors = indices[np.repeat(indptr[frontier], degree)[kept] + within[kept]]
            fresh, first = np.unique(neighbors[number_of[neighbors] < 0], return_index=True)
            frontier = fresh[np.argsort(first)].astype(np.int64)
            number_of[frontier] = num_vertices + np.arange(len(frontier))
            num_edges += len(number_of[neighbors])
            num_vertices += len(frontier)
            found.append(frontier)
        number_of[np.concatenate(found)] = -1
        return num_edges, num_vertices

    return sample
