"""Minibatches of a partitioned graph, as a PyG user expects them."""

from gnnflow.loader.minibatch_maker import (
    MinibatchCost,
    MinibatchMaker,
    MinibatchOptions,
    SampledMinibatch,
    as_tensor,
)
from gnnflow.loader.neighbor_loader import DEFAULT_DEPTH, DistNeighborLoader
from gnnflow.loader.seed_schedule import SeedBatch, SeedSchedule

__all__ = [
    "DEFAULT_DEPTH",
    "DistNeighborLoader",
    "MinibatchCost",
    "MinibatchMaker",
    "MinibatchOptions",
    "SampledMinibatch",
    "SeedBatch",
    "SeedSchedule",
    "as_tensor",
]
