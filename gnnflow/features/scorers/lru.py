"""The row that was used last stays longest."""

import numpy as np

from gnnflow.features.scorers.base import Keys, Priorities, Scorer, Slots, grown


class LruScorer(Scorer):
    """Least recently used rows go first."""

    name = "lru"

    def __init__(self) -> None:
        """Starts with no use known."""
        self._last_use: Priorities = np.zeros(0, dtype=np.uint32)

    def register(self, keys: Keys, ids: object) -> None:
        """Marks vertices as never used."""
        self._last_use = grown(self._last_use, self.index.num_keys)
        self._last_use[keys] = 0

    def touch(self, keys: Keys, slots: Slots, minibatch: int) -> Priorities:
        """Returns the number of the minibatch, counted from 1, for all."""
        self._last_use[keys] = minibatch + 1
        return np.full(len(keys), minibatch + 1, dtype=np.uint32)

    def priorities(self, keys: Keys) -> Priorities:
        """Returns the minibatch of the last use, counted from 1; 0 before any."""
        return self._last_use[keys]

    @property
    def memory_bytes(self) -> int:
        """Size of the last uses."""
        return self._last_use.nbytes
