"""The published scheme as plainly as it is described: a sorted buffer, every score touched.

Lookup by binary search in the sorted ids, all scores of the buffer decayed for every minibatch,
misses counted by binary search in the halo, and every `period` minibatches the counts of the whole
halo sorted to replace what is stale. Without rows: ids and scores only.

Source: the description in Sarkar et al., "MassiveGNN", CLUSTER 2024.
"""

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


class SortedBuffer:
    """A buffer of halo vertices with eviction scores, and miss counts of the whole halo."""

    def __init__(self, halo: Ids, first: Ids, *, alpha: float, period: int) -> None:
        """Starts with some halo vertices in the buffer.

        Args:
            halo: int64 `[num_halo]`, ascending.
            first: int64 `[capacity]`: what the buffer holds at the start.
            alpha: Share of its score that an unused row loses per minibatch.
            period: Minibatches between two replacements.
        """
        self._halo = halo
        self._ids = first.copy()
        self._scores = np.ones(len(first))
        self._misses = np.zeros(len(halo))
        self._misses[np.searchsorted(halo, first)] = -1
        self._decay = 1 - alpha
        self._period = period
        self._threshold = self._decay**period
        self._is_sorted = False
        self._num_minibatches = 0
        self.num_hits = 0

    def plan(self, ids: Ids) -> None:
        """Looks up a minibatch and keeps the books."""
        self._num_minibatches += 1
        if not self._is_sorted:
            order = np.argsort(self._ids)
            self._ids, self._scores = self._ids[order], self._scores[order]
            self._is_sorted = True
        places = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        found = self._ids[places] == ids
        self.num_hits += int(np.count_nonzero(found))
        self._scores *= self._decay
        self._scores[places[found]] /= self._decay
        missed = ids[~found]
        at = np.minimum(np.searchsorted(self._halo, missed), len(self._halo) - 1)
        self._misses[at[self._halo[at] == missed]] += 1
        if self._num_minibatches % self._period == 0:
            self._replace()

    def _replace(self) -> None:
        stale = np.flatnonzero(self._scores < self._threshold)
        order = np.argsort(-self._misses)
        incoming = order[self._misses[order] > 0][: len(stale)]
        outgoing = stale[: len(incoming)]
        scores = self._misses[incoming]
        self._misses[np.searchsorted(self._halo, self._ids[outgoing])] = self._scores[outgoing]
        self._ids[outgoing] = self._halo[incoming]
        self._scores[outgoing] = scores
        self._misses[incoming] = -1
        self._is_sorted = len(incoming) == 0
