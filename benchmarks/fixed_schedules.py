"""Fixed schedules of the scorer `decay`, and the search for the best of them.

Whatever is compared with "the best fixed schedule" takes it from here: all periods and all alphas,
each with what it was tried on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Generic, TypeVar

from gnnflow.cache.transfer import every
from gnnflow.replay import ReplaySettings, Trace, replay_trace
from gnnflow.replay.replay import ReplayResult

PERIODS = (1, 2, 3, 5, 10, 20, 25, 40, 50, 80, 100)
"""Minibatches between two replacements."""
ALPHAS = (0.005, 0.05, 0.2)
"""Share of its score that an unused row loses per minibatch."""
STALE_AFTER = (5, 10, 20)
"""Minibatches without use after which a row is stale, besides the period itself."""

SettingT = TypeVar("SettingT")


@dataclass(frozen=True, kw_only=True, slots=True)
class FixedSchedule:
    """When rows are replaced, and which."""

    fill: str
    """What the cache holds at the start."""
    period: int
    """Minibatches between two replacements; 0 replaces nothing after the fill."""
    alpha: float = ALPHAS[1]
    """Share of its score that an unused row loses per minibatch."""
    stale_after: int | None = None
    """Minibatches without use after which a row is stale; None for the period, as in a run."""

    def __str__(self) -> str:
        """As tables and files name it."""
        if not self.period:
            return f"fill {self.fill}, never replaced"
        stale = "" if self.stale_after is None else f", stale after {self.stale_after}"
        return f"fill {self.fill}, every {self.period}, alpha {self.alpha:g}{stale}"

    def words(self) -> tuple[str, ...]:
        """What tells gnnflow-train to run it; only if rows are stale after the period."""
        assert self.stale_after is None, "a run has no option for it"
        words = ("--scorer", "decay", "--cache-fill", self.fill, "--period", str(self.period))
        return (*words, "--alpha", str(self.alpha))

    def replay(self, trace: Trace, capacity: int) -> ReplayResult:
        """Replays it over a trace."""
        settings = ReplaySettings(
            scorer="decay",
            capacity=capacity,
            fill=self.fill,
            period=self.period if self.stale_after is None else self.stale_after,
            alpha=self.alpha,
        )
        return replay_trace(trace, settings, every(self.period))


def schedules(
    fills: Sequence[str],
    periods: Sequence[int] = PERIODS,
    alphas: Sequence[float] = ALPHAS,
    stale_after: Sequence[int | None] = (None,),
) -> list[FixedSchedule]:
    """All schedules of some fills; where rows come in at the start, also to leave them alone."""
    found = [
        FixedSchedule(fill=fill, period=period, alpha=alpha, stale_after=stale)
        for fill, period, alpha, stale in product(fills, periods, alphas, stale_after)
        if stale != period
    ]
    return [*found, *(FixedSchedule(fill=fill, period=0) for fill in fills if fill != "empty")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Found(Generic[SettingT]):
    """What a search found."""

    best: SettingT
    rows: int
    """What it moves, over all traces."""
    tried: dict[SettingT, int]
    """All that were tried on all traces, with the rows that they move."""


def search(
    traces: Sequence[Trace],
    candidates: Sequence[SettingT],
    rows: Callable[[Sequence[Trace], SettingT], int],
    finalists: int | None = None,
) -> Found[SettingT]:
    """Finds what moves the fewest rows by trying all candidates; of equals, the first.

    Args:
        traces: Of all ranks.
        candidates: What to try; at least one.
        rows: Rows that a candidate moves over some traces.
        finalists: Try all on the first trace and only so many, the best there, on all.
    """
    chosen = list(candidates)
    if finalists is not None and len(traces) > 1:
        chosen = sorted(chosen, key=lambda each: rows(traces[:1], each))[:finalists]
    tried = {candidate: rows(traces, candidate) for candidate in chosen}
    best = min(tried, key=tried.__getitem__)
    return Found(best=best, rows=tried[best], tried=tried)


def best_schedule(
    traces: Sequence[Trace],
    budget: float,
    candidates: Sequence[FixedSchedule],
    finalists: int | None = None,
) -> Found[FixedSchedule]:
    """Finds the best schedule for a budget, a share of the halo vertices of each trace."""

    def rows(of: Sequence[Trace], schedule: FixedSchedule) -> int:
        return sum(schedule.replay(trace, capacity_of(trace, budget)).volume_rows for trace in of)

    return search(traces, candidates, rows, finalists)


def capacity_of(trace: Trace, budget: float) -> int:
    """Rows that a share of the halo vertices allows a rank, at least one."""
    return max(int(budget * trace.num_budget_rows), 1)
