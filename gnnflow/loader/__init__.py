"""Minibatches of a partitioned graph, as a PyG user expects them."""

from gnnflow.loader.seed_schedule import SeedBatch, SeedSchedule

__all__ = ["SeedBatch", "SeedSchedule"]
