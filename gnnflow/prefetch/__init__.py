"""Minibatches ahead of time: sampled, fetched and handed over while earlier ones train."""

from gnnflow.prefetch.cache_setup import CacheSetup, Halo, set_up_cache
from gnnflow.prefetch.cached_rows import CachedRows
from gnnflow.prefetch.live_policy import LivePolicy, Policy, PolicyChoice, start_live_policy
from gnnflow.prefetch.pipeline import Pipeline, Stages
from gnnflow.prefetch.row_request import RowRequest

__all__ = [
    "CacheSetup",
    "CachedRows",
    "Halo",
    "LivePolicy",
    "Pipeline",
    "Policy",
    "PolicyChoice",
    "RowRequest",
    "Stages",
    "set_up_cache",
    "start_live_policy",
]
