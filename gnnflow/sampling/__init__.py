"""From seed vertices and fanouts to a sampled subgraph, on the local graph and across ranks."""

from gnnflow.sampling.dist_sampler import DistNeighborSampler, MinibatchSeeds
from gnnflow.sampling.subgraph import LocalNeighborSampler, SampledSubgraph

__all__ = ["DistNeighborSampler", "LocalNeighborSampler", "MinibatchSeeds", "SampledSubgraph"]
