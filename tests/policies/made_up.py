"""Observations made up for tests, and a toy of the cache that steering talks to."""

import dataclasses
from typing import Any

import numpy as np

from gnnflow.policies import (
    CacheState,
    CacheView,
    MinibatchCounters,
    Observation,
    PastDecision,
    ReplacementPlan,
    RunFacts,
    Window,
)
from gnnflow.traffic import Traffic

FACTS = RunFacts(
    scorer="decay",
    num_parts=4,
    graph_vertices=60_000,
    graph_edges=330_000,
    part_vertices=15_000,
    halo_vertices=8_000,
    cache_rows=1_000,
    row_bytes=512,
    num_minibatches=200,
)


def make_observation(**changes: Any) -> Observation:
    """An observation in mid-run; fields of it, its window and its state can be set by name."""
    observation = Observation(
        rank=1,
        minibatch=79,
        minibatches_since_replacement=12,
        facts=FACTS,
        window=Window(
            minibatches=8,
            remote_rows=16_000,
            hit_rows=8_000,
            filled_rows=0,
            moved_bytes=8_000 * 512,
            stall_s=0.4,
            elapsed_s=1.6,
        ),
        before=Window(minibatches=8, remote_rows=16_000, hit_rows=8_800),
        state=CacheState(
            occupied_rows=1_000,
            stale_rows=200,
            candidate_rows=3_000,
            incoming_rows=200,
            outgoing_rows=200,
            incoming_uses=0.5,
            outgoing_uses=0.05,
        ),
        history=(
            PastDecision(minibatch=67, replace=True, hit_rate_change=0.03, volume_change=-0.05),
        ),
    )
    for part in ("facts", "window", "state"):
        record = getattr(observation, part)
        names = {field.name for field in dataclasses.fields(record)} & set(changes)
        inner = {name: changes.pop(name) for name in names}
        observation = dataclasses.replace(
            observation, **{part: dataclasses.replace(record, **inner)}
        )
    return dataclasses.replace(observation, **changes)


class ToyCache:
    """A cache of the ids 0 to 99 that would exchange the first ten for 100 to 109."""

    def __init__(self) -> None:
        self.rows = set(range(100))

    def policy_view(self, window: int) -> CacheView:
        plan = ReplacementPlan(incoming=np.arange(100, 110), outgoing=np.arange(10))
        return CacheView(occupied_rows=len(self.rows), stale_rows=10, candidate_rows=10, plan=plan)


def counters(minibatch: int, remote: int = 100, hits: int = 50, filled: int = 0) -> Any:
    return MinibatchCounters(
        minibatch=minibatch,
        traffic=Traffic(rows_asked=remote, rows_hit=hits, rows_filled=filled),
    )
