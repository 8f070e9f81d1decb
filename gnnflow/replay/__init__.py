"""What a run asked for, and what other caches and policies would have made of it."""

from gnnflow.replay.replay import Replay, ReplayResult, ReplaySettings, replay_trace
from gnnflow.replay.trace import (
    Trace,
    TraceFacts,
    TraceRecorder,
    read_trace,
    read_traces,
    write_trace,
)

__all__ = [
    "Replay",
    "ReplayResult",
    "ReplaySettings",
    "Trace",
    "TraceFacts",
    "TraceRecorder",
    "read_trace",
    "read_traces",
    "replay_trace",
    "write_trace",
]
