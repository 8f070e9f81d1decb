"""The row that is needed soonest stays: minibatches are sampled ahead, so the near future is known.

Keeping the rows whose next use comes first is optimal (Belady 1966, "A Study of Replacement
Algorithms for a Virtual-Storage Computer"). Here the future is known as far as minibatches have
been announced; rows that none of them asks for are ordered by another scorer.
"""

import numpy as np
import numpy.typing as npt

from gnnflow._kernels import CacheIndex, NextUseWindow
from gnnflow.features.scorers.base import Ids, Keys, Priorities, Scorer, Slots

_UNKNOWN = np.uint32(0xFFFFFFFF)
# Next uses are kept as `_UNKNOWN - minibatch`. Minibatches are numbered below 2**31, so these lie
# above all priorities of the scorer beyond the window.
_FIRST_KNOWN = 1 << 31


class LookaheadScorer(Scorer):
    """Orders by next use within the announced minibatches, and beyond them by another scorer."""

    name = "lookahead"
    looks_ahead = True

    def __init__(self, beyond: Scorer) -> None:
        """Takes the scorer of rows that no announced minibatch asks for.

        Args:
            beyond: A scorer whose priorities stay below `2**31`, as those of floats do.
        """
        self._beyond = beyond
        self._window = NextUseWindow()

    @property
    def num_minibatches(self) -> int:
        """Minibatches announced and not yet touched."""
        return self._window.num_minibatches

    @property
    def num_rows(self) -> int:
        """Rows that these minibatches ask for, with repetition."""
        return self._window.num_rows

    @property
    def num_distinct_rows(self) -> int:
        """Rows that these minibatches ask for, without repetition."""
        return self._window.num_distinct_rows

    @property
    def num_front_rows(self) -> int:
        """Rows that the oldest of these minibatches asks for."""
        return self._window.num_front_rows

    def num_known_to_return(self) -> int:
        """Counts rows whose next use after the oldest announced minibatch is known.

        Counted are the rows at hand then: the cached ones and those that this minibatch asks for.
        Once there are as many of them as the cache can hold, what it keeps after that minibatch is
        the best choice there is: announcing more would not change it.
        """
        used_by_front = int(_UNKNOWN) - self._window.first_minibatch
        cached = self.index.count_at_least(_FIRST_KNOWN, except_=used_by_front)
        return cached + self._window.num_front_rows_used_again()

    def bind(self, index: CacheIndex) -> None:
        """Joins this scorer and the one beyond to the cache."""
        super().bind(index)
        self._beyond.bind(index)

    def register(self, keys: Keys, ids: Ids) -> None:
        """Passes on new vertices."""
        self._beyond.register(keys, ids)

    def announce(self, keys: Keys) -> None:
        """Appends a minibatch to the window; cached rows that it uses next rise."""
        self._window.push(keys, self.index)

    def retract(self, keys: Keys) -> None:
        """Takes the oldest minibatch out of the window."""
        self._window.pop(keys, np.zeros(len(keys), dtype=np.uint32))

    def touch(self, keys: Keys, slots: Slots, minibatch: int) -> Priorities:
        """Takes the minibatch out of the window; its rows count by their next use."""
        return self._window.pop(keys, self._beyond.touch(keys, slots, minibatch))

    def rescaled(self) -> bool:
        """Passes on the word of the other scorer."""
        return self._beyond.rescaled()

    def priorities(self, keys: Keys) -> Priorities:
        """Returns the priorities by next use, or those of the scorer beyond the window."""
        next_uses = self._window.next_uses(keys)
        return np.where(next_uses == _UNKNOWN, self._beyond.priorities(keys), _UNKNOWN - next_uses)

    def forgettable(self, keys: Keys) -> npt.NDArray[np.bool_]:
        """Tells which vertices no announced minibatch asks for and the other scorer can spare."""
        unused: npt.NDArray[np.bool_] = self._window.next_uses(keys) == _UNKNOWN
        return unused & self._beyond.forgettable(keys)

    @property
    def memory_bytes(self) -> int:
        """Size of the window and of what the other scorer remembers."""
        return self._window.memory_bytes + self._beyond.memory_bytes
