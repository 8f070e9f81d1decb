"""Minibatches ahead of time: how far to look, what was asked for, what a cache makes of it."""

from gnnflow.prefetch.belady import belady_hits
from gnnflow.prefetch.cache_setup import CacheSetup, Halo, set_up_cache
from gnnflow.prefetch.cached_rows import CachedRows, RowRequest
from gnnflow.prefetch.live_policy import LivePolicy, start_live_policy
from gnnflow.prefetch.lookahead_window import LookaheadWindow
from gnnflow.prefetch.pipeline import Pipeline, Stages
from gnnflow.prefetch.replay import Replay, ReplayResult, ReplaySettings, replay_trace
from gnnflow.prefetch.trace import (
    Trace,
    TraceFacts,
    TraceRecorder,
    read_trace,
    read_traces,
    write_trace,
)

__all__ = [
    "CacheSetup",
    "CachedRows",
    "Halo",
    "LivePolicy",
    "LookaheadWindow",
    "Pipeline",
    "Replay",
    "ReplayResult",
    "ReplaySettings",
    "RowRequest",
    "Stages",
    "Trace",
    "TraceFacts",
    "TraceRecorder",
    "belady_hits",
    "read_trace",
    "read_traces",
    "replay_trace",
    "set_up_cache",
    "start_live_policy",
    "write_trace",
]
