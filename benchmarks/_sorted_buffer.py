"""The published scheme as its code does it: a sorted buffer, every score touched.

Ids of the whole minibatch, the rank's own vertices among them, are searched in the sorted buffer;
all scores of the buffer decay for every minibatch, those found are restored; what is not found is
searched in the halo and counted there. Every `period` minibatches the counts of the whole halo are
sorted to replace what is stale, and the buffer is sorted again. Rows that replace stale ones are
fetched with those that the minibatch misses, one that is both is fetched twice. Here without rows:
ids and scores only, in the same types.

Source: Sarkar et al., "MassiveGNN", CLUSTER 2024, and its code (github.com/pnnl/MassiveGNN,
`PrefetchEfficient`), whose compiled searches are numpy's here.
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
            period: Minibatches between two replacements; 0 never replaces.
        """
        self._halo = halo.astype(np.int32)
        self._ids = first.astype(np.int32)
        self._scores = np.ones(len(first), dtype=np.float32)
        self._misses = np.zeros(len(halo), dtype=np.float32)
        self._misses[np.searchsorted(self._halo, self._ids)] = -1
        self._decay = np.float32(1 - alpha)
        self._period = period
        self._threshold = round((1 - alpha) ** period, 3)
        self._is_sorted = False
        self._num_minibatches = 0
        self.num_hits = 0
        self.num_filled = len(first)
        """Rows fetched for the buffer, those at the start included."""

    def plan(self, ids: Ids) -> None:
        """Looks up a minibatch and keeps the books.

        Args:
            ids: int64 `[n]`: all vertices of the minibatch, in the order of the sampler.
        """
        wanted = ids.astype(np.int32)
        self._num_minibatches += 1
        if not self._is_sorted:
            order = np.argsort(self._ids)
            self._ids, self._scores = self._ids[order], self._scores[order]
            self._is_sorted = True
        self._scores *= self._decay
        places, found = _search(self._ids, wanted)
        self._scores[places[found]] /= self._decay
        self.num_hits += int(np.count_nonzero(found))
        replaced = self._period > 0 and self._num_minibatches % self._period == 0
        if not (replaced and self._replace()):
            at, is_halo = _search(self._halo, wanted[~found])
            self._misses[at[is_halo]] += 1

    def _replace(self) -> bool:
        """Exchanges stale rows for those missed most often; tells whether there were stale ones."""
        stale = np.flatnonzero(self._scores < self._threshold)
        if not len(stale):
            return False
        order = np.argsort(-self._misses)
        incoming = order[self._misses[order] > 0][: len(stale)]
        outgoing = stale[: len(incoming)]
        scores = self._misses[incoming]
        leaving = self._ids[outgoing]
        self._ids[outgoing] = self._halo[incoming]
        self._misses[np.searchsorted(self._halo, leaving)] = self._scores[outgoing]
        self._misses[np.searchsorted(self._halo, self._ids)] = -1
        self._scores[outgoing] = scores
        self._is_sorted = False
        self.num_filled += len(incoming)
        return True


def _search(ascending: NDArray[np.int32], ids: NDArray[np.int32]) -> tuple[Ids, NDArray[np.bool_]]:
    """Returns where ids are in an array, and whether they are."""
    if not len(ascending):
        return np.zeros(len(ids), dtype=np.int64), np.zeros(len(ids), dtype=np.bool_)
    places = np.minimum(np.searchsorted(ascending, ids), len(ascending) - 1)
    return places, ascending[places] == ids
