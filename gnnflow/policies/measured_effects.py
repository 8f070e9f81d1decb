"""What decisions bring about: measured effects, and what the other choice would have brought."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gnnflow.policies.decision import Outcome
from gnnflow.policies.observation import CacheState, MinibatchCounters, Window


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplacementPlan:
    """The rows that a replacement would exchange at some moment."""

    incoming: NDArray[np.int64]
    """Global ids of the rows it would fetch, int64 `[num_incoming]`, unique."""

    outgoing: NDArray[np.int64]
    """Global ids of the rows it would evict, int64 `[num_outgoing]`, unique."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheView:
    """What a cache shows at a decision point."""

    occupied_rows: int
    """Slots in use."""

    stale_rows: int
    """Cached rows that no minibatch of the window used."""

    candidate_rows: int
    """Rows outside the cache that were used before."""

    plan: ReplacementPlan
    """The exchange that a replacement would carry out now; empty with free admission."""

    lookahead: int = 0
    """Minibatches of the lookahead window; 0 if the scorer has none."""

    exchange_every: int = 1
    """Minibatches whose misses share one exchange."""

    wire_dtype: str = "stored"
    """Type in which rows travel."""


class SteeredCache(Protocol):
    """What steering wants to know from a cache, at decision points only."""

    def policy_view(self, window: int) -> CacheView:
        """The cache now.

        Args:
            window: latest minibatches; a row that none of them used is stale.
        """


class PlanTracker:
    """Counts what a plan saves, or would have saved, while minibatches go by.

    The rows of a plan are watched whether or not it was carried out. Each use of an incoming row
    is a fetch that replacing avoids, each use of an outgoing row one that it causes, and every
    incoming row costs one fetch at once. This is exact as long as the cache changes in no other
    way.
    """

    def __init__(self, plan: ReplacementPlan) -> None:
        """Starts to watch the rows of a plan."""
        self._plan = plan
        self._saved = -len(plan.incoming)

    def add(self, ordered_ids: NDArray[np.int64]) -> None:
        """Takes account of the distinct remote rows of one minibatch, int64 `[n]`, ascending."""
        self._saved += count_members(ordered_ids, self._plan.incoming)
        self._saved -= count_members(ordered_ids, self._plan.outgoing)

    @property
    def saved_rows(self) -> float:
        """Rows that replacing saves against keeping still, so far; negative until it has paid."""
        return float(self._saved)


@dataclass(slots=True)
class EffectMeter:
    """Compares the minibatches after a decision with the window that it was based on."""

    before: Window
    tracker: PlanTracker | None = None
    _after: list[MinibatchCounters] = field(default_factory=list)

    def add(self, counters: MinibatchCounters, ordered_ids: NDArray[np.int64]) -> None:
        """Takes account of one more minibatch with its distinct remote rows, ascending."""
        self._after.append(counters)
        if self.tracker is not None:
            self.tracker.add(ordered_ids)

    @property
    def num_minibatches(self) -> int:
        """Minibatches measured so far."""
        return len(self._after)

    def outcome(self) -> Outcome:
        """The effect over the minibatches measured so far; there must be at least one."""
        after = Window.of(self._after)
        rows_before = self.before.moved_rows_per_minibatch
        change = after.moved_rows_per_minibatch - rows_before
        stall_before = self.before.stall_s / max(self.before.minibatches, 1)
        return Outcome(
            minibatches=after.minibatches,
            hit_rate_change=after.hit_rate - self.before.hit_rate,
            volume_change=change / max(rows_before, 1.0),
            stall_change_s=after.stall_s / after.minibatches - stall_before,
            saved_rows=None if self.tracker is None else self.tracker.saved_rows,
        )


def view_state(view: CacheView, latest_ids: Sequence[NDArray[np.int64]]) -> CacheState:
    """Turns what a cache shows into the numbers of an observation.

    Args:
        view: the cache now.
        latest_ids: distinct remote rows of the latest minibatches, int64 `[n]` each, ascending.
    """
    plan = view.plan
    return CacheState(
        occupied_rows=view.occupied_rows,
        stale_rows=view.stale_rows,
        candidate_rows=view.candidate_rows,
        incoming_rows=len(plan.incoming),
        outgoing_rows=len(plan.outgoing),
        incoming_uses=_uses(plan.incoming, latest_ids),
        outgoing_uses=_uses(plan.outgoing, latest_ids),
        lookahead=view.lookahead,
        exchange_every=view.exchange_every,
        wire_dtype=view.wire_dtype,
    )


def _uses(ids: NDArray[np.int64], latest_ids: Sequence[NDArray[np.int64]]) -> float:
    if not len(ids) or not latest_ids:
        return 0.0
    used = sum(count_members(ordered_ids, ids) for ordered_ids in latest_ids)
    return used / (len(ids) * len(latest_ids))


def count_members(sorted_ids: NDArray[np.int64], ids: NDArray[np.int64]) -> int:
    """How many ids `[n]` are among sorted ones `[m]`."""
    if not len(sorted_ids) or not len(ids):
        return 0
    places = np.minimum(np.searchsorted(sorted_ids, ids), len(sorted_ids) - 1)
    return int(np.count_nonzero(sorted_ids[places] == ids))
