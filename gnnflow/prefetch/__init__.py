"""Minibatches ahead of time: how far to look, what was asked for, what a cache makes of it."""

from gnnflow.prefetch.belady import belady_hits
from gnnflow.prefetch.lookahead_window import LookaheadWindow
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
    "LookaheadWindow",
    "Replay",
    "ReplayResult",
    "ReplaySettings",
    "Trace",
    "TraceFacts",
    "TraceRecorder",
    "belady_hits",
    "read_trace",
    "read_traces",
    "replay_trace",
    "write_trace",
]
