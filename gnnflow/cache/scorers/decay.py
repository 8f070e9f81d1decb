"""The published scheme that gnnflow is measured against: decaying scores and a stale threshold.

Sources: Sarkar, Ghosh, Tallent, Jannesari, "MassiveGNN: Efficient Training via Prefetching for
Massively Connected Distributed Graphs", CLUSTER 2024; Sarkar et al., "Rudder: Steering Prefetching
in Distributed GNN Training using LLM Agents", 2026, which decides by a model when to replace.
"""

import math

import numpy as np
import numpy.typing as npt

from gnnflow.array_types import Keys, Slots
from gnnflow.cache.scorers.base import ReplacementScorer, grown
from gnnflow.errors import ConfigError

# All scores decay by changing one number, the unit; they are rescaled before it overflows.
_LARGEST_UNIT = 1e100
# Scores that are equal to the threshold in exact arithmetic stay, whatever the rounding says.
_TOLERANCE = 1 - 1e-9


class DecayScorer(ReplacementScorer):
    """Scores of cached rows decay while they are not used; the stale ones give way.

    - A row put in at the start has score 1. Every minibatch that does not use it multiplies the
      score by `1 - alpha`.
    - A row is stale when its score is below `(1 - alpha) ** period`.
    - A miss adds 1 to the count of a vertex that is not cached. When the policy says so, stale rows
      and free slots are replaced by the vertices with the largest counts, whose rows are fetched.
    - A row that comes in takes its count as score; one that goes keeps its score as count.
    """

    name = "decay"

    def __init__(self, *, alpha: float = 0.05, period: int = 10) -> None:
        """Starts with no vertex known.

        Args:
            alpha: Share of its score that an unused row loses per minibatch, in (0, 1).
            period: Unused minibatches after which a row of score 1 is stale, at least 1.

        Raises:
            ConfigError: If a value is out of range.
        """
        if not 0 < alpha < 1:
            raise ConfigError(f"alpha of the decay scorer must be in (0, 1), got {alpha}")
        if period < 1:
            raise ConfigError(f"period of the decay scorer must be at least 1, got {period}")
        self._decay = 1 - alpha
        self._threshold = (1 - alpha) ** period
        self._unit = 1.0  # what a stored score of a cached row has to be divided by
        self._scores: npt.NDArray[np.float64] = np.zeros(0, dtype=np.float64)  # of cached rows
        self._misses: npt.NDArray[np.float64] = np.zeros(0, dtype=np.float64)  # -1 while cached

    def register(self, keys: Keys) -> None:
        """Starts the counts at 0."""
        self._scores = grown(self._scores, self.index.num_keys)
        self._misses = grown(self._misses, self.index.num_keys)
        self._scores[keys] = 0
        self._misses[keys] = 0

    def touch(self, keys: Keys, slots: Slots) -> None:
        """Lets the scores of unused rows decay and counts misses."""
        self._unit /= self._decay
        if self._unit > _LARGEST_UNIT:
            self._scores /= self._unit
            self._unit = 1.0
        found = slots >= 0
        self._scores[keys[found]] /= self._decay
        self._misses[keys[~found]] += 1

    def fill(self, keys: Keys) -> None:
        """Gives rows that are put in at the start the score 1."""
        self._scores[keys] = self._unit
        self._misses[keys] = -1

    def replacements(self, fraction: float) -> tuple[Slots, Keys]:
        """Pairs free and stale slots, lowest score first, with the vertices missed most often."""
        cached = self.index.cached_keys()
        scores = self._scores[cached] / self._unit
        stale = np.flatnonzero(scores < self._threshold * _TOLERANCE)
        stale = stale[np.lexsort((-self.index.ids_of(cached[stale]), scores[stale]))]
        free = np.arange(self.index.num_cached, self.index.capacity)
        slots = np.concatenate([free, stale]).astype(np.int32)
        num = min(len(slots), int(np.count_nonzero(self._misses[: self.index.num_keys] > 0)))
        num = math.ceil(fraction * num)
        return slots[:num], self._most_missed(num)

    def replace(self, slots: Slots, keys: Keys) -> None:
        """Swaps scores and counts of the rows that come and go."""
        used = slots[slots < self.index.num_cached]
        leaving = self.index.cached_keys()[used]
        self._misses[leaving] = self._scores[leaving] / self._unit
        self._scores[keys] = self._misses[keys] * self._unit
        self._misses[keys] = -1

    @property
    def memory_bytes(self) -> int:
        """Size of scores and counts."""
        return self._scores.nbytes + self._misses.nbytes

    def _most_missed(self, num: int) -> Keys:
        misses = self._misses[: self.index.num_keys]
        keys = np.flatnonzero(misses > 0).astype(np.int32)
        if num == 0:
            return keys[:0]
        if num < len(keys):
            # Partition before the sort by id, which only the ties at the end of the list need.
            counts = misses[keys]
            least = np.partition(counts, len(keys) - num)[len(keys) - num]
            keys = keys[counts >= least]
        order = np.lexsort((self.index.ids_of(keys), -misses[keys]))
        return keys[order[:num]]
