"""Runs a cache over a trace: the live cache's own books, without rows, without MPI."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gnnflow.array_types import IntArray
from gnnflow.cache.fill import fill_candidates
from gnnflow.cache.halo_cache import HaloCache
from gnnflow.cache.scorers import ScorerOptions, make_scorer
from gnnflow.cache.step import CacheStep
from gnnflow.cache.transfer import Decide, Lookahead, LookaheadWindow, Transfer, every
from gnnflow.replay.trace import Trace


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplaySettings:
    """One configuration of the cache."""

    scorer: str = "lookahead"
    """Name of the scorer."""
    capacity: int = 0
    """Rows that the cache can hold."""
    fill: str = "empty"
    """What it holds at the start."""
    period: int = 1
    """Minibatches between two replacements; 0 replaces nothing after the fill."""
    lookahead: Lookahead = "auto"
    """Window of the scorer `lookahead`, in minibatches."""
    max_window_bytes: int = 1 << 30
    """Bound of an automatic window."""
    alpha: float = 0.05
    """Share of its score that an unused row loses per minibatch (`decay`)."""
    aging: float = 0.995
    """What a use counts one minibatch later (`frequency`)."""
    with_vip: bool = True
    """Whether scorers may use the vertex inclusion probabilities of the trace."""
    seed: int = 0
    """Seed of the fill `random`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayResult:
    """What a cache would have done for each minibatch of a trace."""

    settings: ReplaySettings
    """The cache."""
    row_bytes: int
    """Size of one row."""
    rows_asked: IntArray
    """int64 `[num_minibatches]`: remote rows asked for."""
    rows_hit: IntArray
    """int64 `[num_minibatches]`: rows found."""
    rows_filled: IntArray
    """int64 `[num_minibatches]`: rows fetched only to fill the cache, after the start."""
    num_evicted: IntArray
    """int64 `[num_minibatches]`: rows that gave way."""
    window: IntArray
    """int64 `[num_minibatches]`: minibatches known ahead when each was planned."""
    rows_filled_at_start: int
    """Rows fetched to fill the cache before the first minibatch."""
    bookkeeping_bytes: int = field(default=0)
    """Memory of everything but the rows, at the end."""

    @property
    def rows_fetched(self) -> IntArray:
        """int64 `[num_minibatches]`: rows that came from other ranks."""
        return self.rows_asked - self.rows_hit + self.rows_filled

    @property
    def volume_rows(self) -> int:
        """Communication volume in rows, the fill at the start included."""
        return int(self.rows_fetched.sum()) + self.rows_filled_at_start

    @property
    def volume_bytes(self) -> int:
        """Communication volume in bytes of rows."""
        return self.volume_rows * self.row_bytes

    @property
    def relative_volume(self) -> float:
        """Volume over the volume without a cache."""
        return self.volume_rows / max(int(self.rows_asked.sum()), 1)

    def hit_rates(self, window: int) -> npt.NDArray[np.float64]:
        """Returns the hit rate of each run of `window` minibatches, never cumulative."""
        starts = np.arange(0, len(self.rows_hit), window)
        hits = np.add.reduceat(self.rows_hit, starts)
        return hits / np.maximum(np.add.reduceat(self.rows_asked, starts), 1)


def make_cache(trace: Trace, settings: ReplaySettings) -> HaloCache:
    """Makes the cache of some settings, without rows, filled as they say.

    Raises:
        ConfigError: If the settings need what the trace does not have.
    """
    options = ScorerOptions(
        alpha=settings.alpha,
        period=max(settings.period, 1),
        aging=settings.aging,
        vip=trace.vip if settings.with_vip else None,
    )
    scorer = make_scorer(settings.scorer, options)
    cache = HaloCache(settings.capacity, scorer, num_vertices=trace.facts.graph_vertices)
    cache.fill(
        fill_candidates(
            settings.fill, trace.halo, trace.halo_degree, vip=trace.vip, seed=settings.seed
        )
    )
    return cache


class Replay:
    """A cache on its way through a trace; `step` by `step`, or all at once by `replay_trace`."""

    def __init__(
        self, trace: Trace, settings: ReplaySettings, transfer: Transfer | None = None
    ) -> None:
        """Fills the cache; no minibatch has been asked for yet.

        Args:
            trace: What a rank asked for.
            settings: The cache.
            transfer: Where the window is read from, if something may change it.

        Raises:
            ConfigError: If the settings need what the trace does not have.
        """
        self.trace = trace
        self.settings = settings
        self.cache = make_cache(trace, settings)
        self._transfer = transfer or Transfer(window=lookahead_window(settings))
        self._num_announced = 0
        self._waiting_bytes = 0
        self._subgraph_bytes = trace.columns["subgraph_bytes"]

    def announce(self, minibatch: int) -> int:
        """Announces what has to be known before a minibatch; returns how many are known after it.

        Args:
            minibatch: The next one to be planned.
        """
        last = self.trace.num_minibatches
        while self._num_announced < last and self._transfer.window.wants_more(
            self.cache, self._waiting_bytes
        ):
            self.cache.announce(self.trace.ids(self._num_announced))
            self._waiting_bytes += int(self._subgraph_bytes[self._num_announced])
            self._num_announced += 1
        if not self._num_announced:
            return 0
        self._waiting_bytes -= int(self._subgraph_bytes[minibatch])
        return self._num_announced - minibatch - 1

    def step(self, minibatch: int, fraction: float) -> CacheStep:
        """Plans a minibatch, replacing a share of what the scorer would exchange."""
        step = self.cache.plan(
            self.trace.ids(minibatch), replace=fraction > 0, fraction=fraction or 1.0
        )
        self.cache.commit(step)
        return step


def lookahead_window(settings: ReplaySettings) -> LookaheadWindow:
    """The rule of the lookahead window that settings ask for."""
    return LookaheadWindow(lookahead=settings.lookahead, max_bytes=settings.max_window_bytes)


def replay_trace(
    trace: Trace,
    settings: ReplaySettings,
    decide: Decide | None = None,
    transfer: Transfer | None = None,
) -> ReplayResult:
    """Runs a cache over a trace.

    Args:
        trace: What a rank asked for.
        settings: The cache.
        decide: When to replace and how much; by default every `settings.period` minibatches.
        transfer: What `decide` may change besides.

    Raises:
        ConfigError: If the settings need what the trace does not have.
    """
    decide = decide or every(settings.period)
    run = Replay(trace, settings, transfer)
    rows_filled_at_start = run.cache.counts.rows_filled
    num = trace.num_minibatches
    columns = np.zeros((4, num), dtype=np.int64)
    for minibatch in range(num):
        ahead = run.announce(minibatch)
        step = run.step(minibatch, decide(run.cache, minibatch))
        columns[:, minibatch] = step.rows_hit, step.rows_filled, step.num_evicted, ahead
    return ReplayResult(
        settings=settings,
        row_bytes=trace.facts.row_bytes,
        rows_asked=np.diff(trace.offsets),
        rows_hit=columns[0],
        rows_filled=columns[1],
        num_evicted=columns[2],
        window=columns[3],
        rows_filled_at_start=rows_filled_at_start,
        bookkeeping_bytes=run.cache.bookkeeping_bytes,
    )
