"""What decisions bring about: measured effects, and what the other choice would have brought."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gnnflow.policies.decision import Outcome
from gnnflow.policies.observation import MinibatchCounters, Window


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplacementPlan:
    """The rows that a replacement would exchange at some moment."""

    incoming: NDArray[np.int64]
    """Global ids of the rows it would fetch, int64 `[num_incoming]`, unique."""

    outgoing: NDArray[np.int64]
    """Global ids of the rows it would evict, int64 `[num_outgoing]`, unique."""


class PlanTracker:
    """Counts what a plan saves, or would have saved, while minibatches go by.

    The rows of a plan are watched whether or not it was carried out. Each use of an incoming row
    is a fetch that replacing avoids, each use of an outgoing row one that it causes, and every
    incoming row costs one fetch at once. This is exact as long as the cache changes in no other
    way.
    """

    def __init__(self, plan: ReplacementPlan) -> None:
        """Starts to watch the rows of a plan."""
        self._incoming = np.sort(plan.incoming)
        self._outgoing = np.sort(plan.outgoing)
        self._saved = -len(plan.incoming)

    def add(self, remote_ids: NDArray[np.int64]) -> None:
        """Takes account of the distinct remote rows of one minibatch, int64 `[num_rows]`."""
        self._saved += _count_members(self._incoming, remote_ids)
        self._saved -= _count_members(self._outgoing, remote_ids)

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

    def add(self, counters: MinibatchCounters, remote_ids: NDArray[np.int64] | None) -> None:
        """Takes account of one more minibatch."""
        self._after.append(counters)
        if self.tracker is not None and remote_ids is not None:
            self.tracker.add(remote_ids)

    @property
    def num_minibatches(self) -> int:
        """Minibatches measured so far."""
        return len(self._after)

    def outcome(self) -> Outcome:
        """The effect over the minibatches measured so far; there must be at least one."""
        after = sum_window(self._after)
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


def sum_window(counters: Iterable[MinibatchCounters]) -> Window:
    """Adds up the counters of minibatches."""
    items = list(counters)
    return Window(
        minibatches=len(items),
        remote_rows=sum(item.remote_rows for item in items),
        hit_rows=sum(item.hit_rows for item in items),
        filled_rows=sum(item.filled_rows for item in items),
        moved_bytes=sum(item.moved_bytes for item in items),
        stall_s=sum(item.stall_s for item in items),
        elapsed_s=sum(item.elapsed_s for item in items),
    )


def _count_members(sorted_ids: NDArray[np.int64], ids: NDArray[np.int64]) -> int:
    if not len(sorted_ids) or not len(ids):
        return 0
    places = np.minimum(np.searchsorted(sorted_ids, ids), len(sorted_ids) - 1)
    return int(np.count_nonzero(sorted_ids[places] == ids))
