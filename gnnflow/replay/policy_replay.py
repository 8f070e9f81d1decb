"""Policies over traces: what they would decide and bring about, by the code that runs live."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gnnflow.cache.steered import SteeredDecide
from gnnflow.cache.transfer import Transfer, every
from gnnflow.policies import (
    DecisionLog,
    DecisionStatistics,
    PolicyController,
    ReplacementPolicy,
    RunFacts,
    Steering,
)
from gnnflow.replay.replay import ReplayResult, ReplaySettings, lookahead_window, replay_trace
from gnnflow.replay.trace import Trace


class TraceMinibatches:
    """Minibatches of a recorded run."""

    def __init__(self, trace: Trace) -> None:
        """Takes the trace."""
        self._trace = trace

    def ids(self, minibatch: int) -> npt.NDArray[np.int64]:
        """Remote rows as recorded."""
        return self._trace.ids(minibatch)

    def times(self, minibatch: int) -> tuple[float, float]:
        """Times as the recorded run knew them at that moment."""
        columns = self._trace.columns
        return float(columns["known_stall_s"][minibatch]), float(
            columns["known_elapsed_s"][minibatch]
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyReplay:
    """What a policy did with a trace."""

    result: ReplayResult
    """Hits and volume, minibatch by minibatch."""

    statistics: DecisionStatistics
    """What it decided."""


def run_facts(trace: Trace, settings: ReplaySettings) -> RunFacts:
    """What a policy is told about the run that a trace is of.

    It may set what it was allowed to set in that run.
    """
    allowed = trace.facts.settings.get("policy_bounds", {})
    return RunFacts(
        scorer=settings.scorer,
        num_parts=trace.facts.num_ranks,
        graph_vertices=trace.facts.graph_vertices,
        graph_edges=trace.facts.graph_edges,
        part_vertices=trace.facts.part_vertices,
        halo_vertices=trace.num_halo,
        cache_rows=settings.capacity,
        row_bytes=trace.facts.row_bytes,
        num_minibatches=trace.num_minibatches,
        free_admission=settings.scorer != "decay",
        max_lookahead=allowed.get("max_lookahead", 0) if settings.scorer == "lookahead" else 0,
        max_exchange_every=allowed.get("max_exchange_every", 1),
        wire_dtypes=tuple(allowed.get("wire_dtypes", ["stored"])),
    )


def steered_decide(trace: Trace, settings: ReplaySettings, steering: Steering) -> SteeredDecide:
    """What lets steering decide over a trace."""
    recorded = trace.facts.settings
    transfer = Transfer(
        window=lookahead_window(settings),
        exchange_every=recorded.get("exchange_every", 1),
        stored_row_bytes=trace.facts.row_bytes,
    )
    if "stored_row_bytes" in recorded:
        transfer.stored_row_bytes = recorded["stored_row_bytes"]
        transfer.wire_dtype = recorded["wire_dtype"]
    return SteeredDecide(
        steering, TraceMinibatches(trace), transfer=transfer, schedule=every(settings.period)
    )


def replay_with_policy(
    trace: Trace,
    settings: ReplaySettings,
    policy: ReplacementPolicy,
    *,
    decide_every: int | None = None,
    window: int = 8,
    horizon: int = 16,
    log: DecisionLog | None = None,
) -> PolicyReplay:
    """Runs a cache over a trace with a policy deciding, each decision at once.

    Observations and decisions are those of a run with `--policy-mode sync` and the same cache.

    Args:
        trace: what a rank asked for.
        settings: the cache; its period decides until the policy has answered, and sets what the
            scorer `decay` holds for stale.
        policy: who decides.
        decide_every: minibatches between two questions; by default as in a run.
        window: minibatches of an observation's window.
        horizon: minibatches over which effects are measured, for every decision.
        log: where decisions are written.

    Raises:
        ConfigError: If the settings need what the trace does not have.
    """
    steering = Steering(
        PolicyController(lambda: policy, mode="sync", timeout_s=None),
        run_facts(trace, settings),
        rank=trace.facts.rank,
        decide_every=decide_every,
        window=window,
        horizon=horizon,
        log=log,
    )
    decide = steered_decide(trace, settings, steering)
    result = replay_trace(trace, settings, decide, decide.transfer)
    steering.close()
    return PolicyReplay(result=result, statistics=steering.statistics)
