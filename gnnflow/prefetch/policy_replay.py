"""Policies over traces: what they would decide and bring about, by the code that runs live."""

from dataclasses import dataclass

from gnnflow.features.cache_step import CacheCounts
from gnnflow.features.halo_cache import HaloCache
from gnnflow.policies import (
    DecisionLog,
    DecisionStatistics,
    MinibatchCounters,
    PolicyController,
    ReplacementPolicy,
    RunFacts,
    Steering,
)
from gnnflow.prefetch.cache_view import HaloCacheView
from gnnflow.prefetch.replay import ReplayResult, ReplaySettings, replay_trace
from gnnflow.prefetch.trace import Trace


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyReplay:
    """What a policy did with a trace."""

    result: ReplayResult
    """Hits and volume, minibatch by minibatch."""

    statistics: DecisionStatistics
    """What it decided."""


def run_facts(trace: Trace, settings: ReplaySettings) -> RunFacts:
    """What a policy is told about the run that a trace is of."""
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
    )


class SteeredDecide:
    """Lets a policy decide in a replay; what `replay_trace` takes as `decide`."""

    def __init__(self, trace: Trace, steering: Steering) -> None:
        """Starts before the first minibatch.

        Args:
            trace: the trace that is replayed.
            steering: asks the policy.
        """
        self._trace = trace
        self._steering = steering
        self._view: HaloCacheView | None = None
        self._before = CacheCounts()

    def __call__(self, cache: HaloCache, minibatch: int) -> float:
        """Takes account of the minibatch before and gives the share to replace with this one."""
        if self._view is None:
            self._view = HaloCacheView(cache)
            self._before = cache.counts
        if minibatch == 0:
            return 0.0
        latest, self._before = cache.counts - self._before, cache.counts
        counters = MinibatchCounters(
            minibatch=minibatch - 1,
            remote_rows=latest.num_requested,
            hit_rows=latest.num_hits,
            filled_rows=latest.num_fill,
            moved_bytes=latest.volume_rows * self._trace.facts.row_bytes,
        )
        ids = self._trace.ids(minibatch - 1)
        decision = self._steering.after_minibatch(counters, self._view, ids)
        if decision is None or not decision.replace:
            return 0.0
        return 1.0 if decision.fraction is None else decision.fraction


def replay_with_policy(
    trace: Trace,
    settings: ReplaySettings,
    policy: ReplacementPolicy,
    *,
    decide_every: int = 1,
    window: int = 8,
    horizon: int = 16,
    log: DecisionLog | None = None,
) -> PolicyReplay:
    """Runs a cache over a trace with a policy deciding, each decision at once.

    Args:
        trace: what a rank asked for.
        settings: the cache; its period sets what the scorer `decay` holds for stale.
        policy: who decides.
        decide_every: minibatches between two questions.
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
        max_tracked=horizon,
        log=log,
    )
    result = replay_trace(trace, settings, SteeredDecide(trace, steering))
    steering.close()
    return PolicyReplay(result=result, statistics=steering.statistics)
