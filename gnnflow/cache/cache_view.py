"""How the halo cache shows itself to a policy."""

import numpy as np

from gnnflow.cache.halo_cache import HaloCache
from gnnflow.cache.scorers import LookaheadScorer, ReplacementScorer
from gnnflow.cache.transfer import Transfer
from gnnflow.policies import CacheView, ReplacementPlan


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
