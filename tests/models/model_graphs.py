"""Small graphs and samples of them, for tests of models."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gnnflow import _kernels
from gnnflow.loader.sparse_adjacency import sparse_adjacency
from gnnflow.sampling import LocalNeighborSampler


@dataclass(frozen=True)
class Sample:
    """A minibatch as the loader yields it."""

    vertices: Tensor
    edge_index: Tensor
    adj_t: Tensor
    num_sampled_nodes: list[int]
    num_sampled_edges: list[int]


@dataclass(frozen=True)
class Graph:
    """A directed graph with power-law degrees, multi-edges, self loops and lonely vertices."""

    edge_index: Tensor
    num_vertices: int

    @classmethod
    def random(cls, num_vertices=60, num_edges=400, seed=0):
        draw = np.random.default_rng(seed)
        ends = (num_vertices * draw.random((2, num_edges)) ** 2).astype(np.int64)
        ends[:, :5] = np.arange(5)  # self loops
        ends[:, 5:10] = ends[:, 10:15]  # multi-edges
        ends[1][ends[1] == 7] = 8  # nobody points at 7
        return cls(torch.from_numpy(ends), num_vertices)

    @property
    def in_degree(self):
        src, dst = self.edge_index
        return torch.bincount(dst[src != dst], minlength=self.num_vertices).float()

    def sample(self, seeds, fanouts):
        order = torch.argsort(self.edge_index[1], stable=True)
        src, dst = self.edge_index[:, order].numpy()
        indptr = np.searchsorted(dst, np.arange(self.num_vertices + 1)).astype(np.int64)
        topology = _kernels.Topology(np.array([0, self.num_vertices]))
        topology.set_part(0, indptr, np.ascontiguousarray(src))
        sampler = LocalNeighborSampler(topology, seed=1)
        subgraph = sampler.sample(np.asarray(seeds, np.int64), fanouts, epoch=0, minibatch=0)
        return Sample(
            torch.from_numpy(subgraph.vertices),
            torch.from_numpy(subgraph.edge_index()),
            sparse_adjacency(subgraph),
            list(subgraph.num_sampled_vertices),
            list(subgraph.num_sampled_edges),
        )
