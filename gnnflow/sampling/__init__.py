"""From seed vertices and fanouts to a sampled subgraph, on the local graph and across ranks."""

from gnnflow.sampling.local_sampler import LocalNeighborSampler
from gnnflow.sampling.subgraph import SampledSubgraph

__all__ = ["LocalNeighborSampler", "SampledSubgraph"]
