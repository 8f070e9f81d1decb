"""Where steering meets the cache: before each plan, the last minibatch in and a decision out.

Steering sees the cache through `HaloCacheView`, and the cache asks it through `SteeredDecide`.
Training and replay differ in where minibatches come from (`MinibatchSource`), and in nothing else.
"""

from typing import Protocol

import numpy as np

from gnnflow.array_types import Ids
from gnnflow.cache.halo_cache import HaloCache
from gnnflow.cache.scorers import LookaheadScorer, ReplacementScorer
from gnnflow.cache.step import CacheCounts
from gnnflow.cache.transfer import Decide, Transfer
from gnnflow.policies import CacheView, Decision, MinibatchCounters, ReplacementPlan, Steering
from gnnflow.traffic import Traffic


class HaloCacheView:
    """A halo cache as steering wants to see it, live and in replay."""

    def __init__(self, cache: HaloCache, transfer: Transfer) -> None:
        """Wraps a cache.

        Args:
            cache: the cache; looked at only between two plans.
            transfer: how its rows travel.
        """
        self._cache = cache
        self._transfer = transfer

    def policy_view(self, window: int) -> CacheView:
        """The cache now; a row that none of the latest `window` minibatches used is stale."""
        cache = self._cache
        first = cache.counts.num_minibatches - window
        return CacheView(
            occupied_rows=cache.num_cached,
            stale_rows=cache.num_unused_since(first),
            candidate_rows=cache.scorer.index.num_known - cache.num_cached,
            plan=_plan(cache),
            lookahead=_num_ahead(cache),
            exchange_every=self._transfer.exchange_every,
            wire_dtype=self._transfer.wire_dtype,
        )


def _plan(cache: HaloCache) -> ReplacementPlan:
    """The exchange that the scorer would carry out now; none if it keeps what arrives."""
    scorer = cache.scorer
    if not isinstance(scorer, ReplacementScorer):
        nothing = np.zeros(0, dtype=np.int64)
        return ReplacementPlan(incoming=nothing, outgoing=nothing)
    slots, keys = scorer.replacements(1.0)
    used = slots[slots < cache.num_cached]
    return ReplacementPlan(incoming=scorer.index.ids_of(keys), outgoing=cache.cached_ids()[used])


def _num_ahead(cache: HaloCache) -> int:
    """Minibatches that are known beyond the next one."""
    scorer = cache.scorer
    return max(scorer.books.num_announced - 1, 0) if isinstance(scorer, LookaheadScorer) else 0


class MinibatchSource(Protocol):
    """What is known of a minibatch besides the counts of the cache."""

    def ids(self, minibatch: int, /) -> Ids:
        """Distinct remote rows of the minibatch planned last, int64 `[n]`."""

    def times(self, minibatch: int, /) -> tuple[float, float]:
        """Seconds of waiting and of everything that became known between two plans.

        Args:
            minibatch: The one about to be planned.
        """


class SteeredDecide:
    """Lets a policy decide on the rows of a cache; what `CachedRows` and `replay_trace` call.

    The schedule of the run goes on until the policy has answered, and while it fails. A decision to
    replace is carried out once with a scorer that fetches its replacements; with one that keeps
    what arrives it holds until the next decision.
    """

    def __init__(
        self, steering: Steering, source: MinibatchSource, *, transfer: Transfer, schedule: Decide
    ) -> None:
        """Starts before the first minibatch.

        Args:
            steering: Asks the policy.
            source: Where minibatches come from.
            transfer: How rows travel; follows the decisions.
            schedule: Decides where the policy does not.
        """
        self._steering = steering
        self._source = source
        self.transfer = transfer
        """How rows travel from now on."""
        self._row_bytes = transfer.row_bytes  # of the minibatch planned last
        self._schedule = schedule
        self._view: HaloCacheView | None = None
        self._before = CacheCounts()
        self._held = 0.0

    def __call__(self, cache: HaloCache, minibatch: int) -> float:
        """Takes account of the minibatch before and gives the share to replace with this one."""
        if self._view is None:
            self._view = HaloCacheView(cache, self.transfer)
            self._before = cache.counts
        decision = None
        if minibatch > 0:
            decision = self._ask(cache, self._view, minibatch)
        if decision is not None:
            self.transfer.follow(decision)
        self._row_bytes = self.transfer.row_bytes
        if not self._steering.is_followed:
            share = self._schedule(cache, minibatch)
            if share > 0:
                self._steering.note_replacement()
            return share
        if decision is not None:
            self._held = _share(decision)
        elif not self._steering.free_admission:
            self._held = 0.0
        return self._held

    def _ask(self, cache: HaloCache, view: HaloCacheView, minibatch: int) -> Decision | None:
        latest, self._before = cache.counts - self._before, cache.counts
        wait_s, elapsed_s = self._source.times(minibatch)
        counters = MinibatchCounters(
            minibatch=minibatch - 1,
            traffic=Traffic(
                rows_asked=latest.rows_asked,
                rows_hit=latest.rows_hit,
                rows_filled=latest.rows_filled,
                bytes_fetched=latest.rows_fetched * self._row_bytes,
                wait_s=wait_s,
            ),
            elapsed_s=elapsed_s,
        )
        return self._steering.after_minibatch(counters, view, self._source.ids(minibatch - 1))


def _share(decision: Decision) -> float:
    if not decision.replace:
        return 0.0
    return 1.0 if decision.fraction is None else decision.fraction
