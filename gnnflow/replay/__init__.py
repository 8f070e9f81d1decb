"""What a run asked for, and what other caches and policies would have made of it."""

from gnnflow.replay.budget_table import budget_table, capacity_of
from gnnflow.replay.policy_replay import replay_with_policy
from gnnflow.replay.replay import Replay, ReplayResult, ReplaySettings, replay_trace
from gnnflow.replay.sample_traces import sample_traces
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
    "budget_table",
    "capacity_of",
    "read_trace",
    "read_traces",
    "replay_trace",
    "replay_with_policy",
    "sample_traces",
    "write_trace",
]
