"""Minibatches of a partitioned graph, as a PyG user expects them."""

from gnnflow.loader.link_loader import DistLinkNeighborLoader
from gnnflow.loader.loader_options import LoaderOptions
from gnnflow.loader.minibatch_maker import (
    MinibatchCost,
    MinibatchMaker,
    MinibatchOptions,
    SampledMinibatch,
    as_tensor,
)
from gnnflow.loader.neighbor_loader import DistNeighborLoader
from gnnflow.loader.pyg_stores import PygFeatureStore, PygGraphStore, PygSampler
from gnnflow.loader.seed_schedule import Schedule, SeedBatch, SeedSchedule

__all__ = [
    "DistLinkNeighborLoader",
    "DistNeighborLoader",
    "LoaderOptions",
    "MinibatchCost",
    "MinibatchMaker",
    "MinibatchOptions",
    "PygFeatureStore",
    "PygGraphStore",
    "PygSampler",
    "SampledMinibatch",
    "Schedule",
    "SeedBatch",
    "SeedSchedule",
    "as_tensor",
]
