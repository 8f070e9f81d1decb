"""How the halo cache shows itself to a policy."""

import numpy as np

from gnnflow.features.halo_cache import HaloCache
from gnnflow.features.scorers import ReplacementScorer
from gnnflow.policies import CacheView, ReplacementPlan


class HaloCacheView:
    """A halo cache as steering wants to see it, live and in replay."""

    def __init__(
        self,
        cache: HaloCache,
        *,
        lookahead: int = 0,
        exchange_every: int = 1,
        wire_dtype: str = "float32",
    ) -> None:
        """Wraps a cache.

        Args:
            cache: the cache; looked at only between two plans.
            lookahead: minibatches of the lookahead window, 0 without one.
            exchange_every: minibatches whose misses share one exchange.
            wire_dtype: type in which rows travel.
        """
        self._cache = cache
        self.lookahead = lookahead
        self.exchange_every = exchange_every
        self.wire_dtype = wire_dtype

    def policy_view(self, window: int) -> CacheView:
        """The cache now; a row that none of the latest `window` minibatches used is stale."""
        cache = self._cache
        first = cache.counts.num_minibatches - window
        return CacheView(
            occupied_rows=cache.num_cached,
            stale_rows=cache.num_unused_since(first),
            candidate_rows=cache.scorer.index.num_known - cache.num_cached,
            plan=_plan(cache),
            lookahead=self.lookahead,
            exchange_every=self.exchange_every,
            wire_dtype=self.wire_dtype,
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
