"""What the halo cache did for one minibatch, and sums of it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gnnflow.traffic import Traffic


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheStep:
    """The plan of one minibatch: what lies where, what to fetch, what to keep of it."""

    minibatch: int
    """Number of the minibatch in this cache, from 0."""
    slots: npt.NDArray[np.int32]
    """int32 `[n]`: slot of each id that was asked for, -1 for a miss."""
    fetch_ids: npt.NDArray[np.int64]
    """int64 `[num_fetched]`: ids to fetch, the misses in order of the ids, then rows that are
    fetched only to fill the cache."""
    rows_missed: int
    """How many of them are misses."""
    admitted: npt.NDArray[np.int32]
    """int32 `[num_admitted]`: positions in `fetch_ids` of rows that go into the cache."""
    admitted_slots: npt.NDArray[np.int32]
    """int32 `[num_admitted]`: where each of them goes."""
    num_evicted: int
    """Cached rows that give way."""

    @property
    def rows_hit(self) -> int:
        """Rows found in the cache."""
        return len(self.slots) - self.rows_missed

    @property
    def rows_filled(self) -> int:
        """Rows fetched only to fill the cache."""
        return len(self.fetch_ids) - self.rows_missed


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheCounts(Traffic):
    """Sums since the cache was made; the difference of two of them describes a window.

    A cache knows rows alone: bytes and seconds are 0.
    """

    num_minibatches: int = 0
    """Minibatches planned."""
    num_admitted: int = 0
    """Rows that came into the cache."""
    num_evicted: int = 0
    """Rows that gave way."""


class RunningCounts:
    """The sums as they grow, minibatch by minibatch."""

    def __init__(self, *, rows_filled: int = 0, num_admitted: int = 0) -> None:
        """Starts with what was fetched to fill the cache."""
        self._num_minibatches = 0
        self._rows_asked = 0
        self._rows_missed = 0
        self._rows_filled = rows_filled
        self._num_admitted = num_admitted
        self._num_evicted = 0

    def add(self, step: CacheStep) -> None:
        """Counts one more minibatch."""
        self._num_minibatches += 1
        self._rows_asked += len(step.slots)
        self._rows_missed += step.rows_missed
        self._rows_filled += step.rows_filled
        self._num_admitted += len(step.admitted)
        self._num_evicted += step.num_evicted

    def counts(self) -> CacheCounts:
        """Returns the sums now."""
        return CacheCounts(
            num_minibatches=self._num_minibatches,
            rows_asked=self._rows_asked,
            rows_hit=self._rows_asked - self._rows_missed,
            rows_filled=self._rows_filled,
            num_admitted=self._num_admitted,
            num_evicted=self._num_evicted,
        )
