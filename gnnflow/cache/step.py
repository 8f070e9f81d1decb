"""What the halo cache did for one minibatch, and sums of it."""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt


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
    num_misses: int
    """How many of them are misses."""
    admitted: npt.NDArray[np.int32]
    """int32 `[num_admitted]`: positions in `fetch_ids` of rows that go into the cache."""
    admitted_slots: npt.NDArray[np.int32]
    """int32 `[num_admitted]`: where each of them goes."""
    num_evicted: int
    """Cached rows that give way."""

    @property
    def num_hits(self) -> int:
        """Rows found in the cache."""
        return len(self.slots) - self.num_misses

    @property
    def num_fill(self) -> int:
        """Rows fetched only to fill the cache."""
        return len(self.fetch_ids) - self.num_misses


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheCounts:
    """Sums since the cache was made; the difference of two of them describes a window."""

    num_minibatches: int = 0
    """Minibatches planned."""
    num_requested: int = 0
    """Remote rows asked for."""
    num_hits: int = 0
    """Rows found in the cache."""
    num_fill: int = 0
    """Rows fetched only to fill the cache, those at the start included."""
    num_admitted: int = 0
    """Rows that came into the cache."""
    num_evicted: int = 0
    """Rows that gave way."""

    @property
    def num_misses(self) -> int:
        """Rows asked for and not found."""
        return self.num_requested - self.num_hits

    @property
    def volume_rows(self) -> int:
        """Communication volume: misses and the rows fetched only to fill the cache."""
        return self.num_misses + self.num_fill

    @property
    def hit_rate(self) -> float:
        """Rows found over rows asked for; 0 if nothing was asked for."""
        return self.num_hits / self.num_requested if self.num_requested else 0.0

    def __sub__(self, earlier: "CacheCounts") -> "CacheCounts":
        """Returns what happened since an earlier count."""
        return CacheCounts(
            **{
                field.name: getattr(self, field.name) - getattr(earlier, field.name)
                for field in fields(self)
            }
        )


class RunningCounts:
    """The sums as they grow, minibatch by minibatch."""

    def __init__(self, *, num_fill: int = 0, num_admitted: int = 0) -> None:
        """Starts with what was fetched to fill the cache."""
        self._num_minibatches = 0
        self._num_requested = 0
        self._num_misses = 0
        self._num_fill = num_fill
        self._num_admitted = num_admitted
        self._num_evicted = 0

    def add(self, step: CacheStep) -> None:
        """Counts one more minibatch."""
        self._num_minibatches += 1
        self._num_requested += len(step.slots)
        self._num_misses += step.num_misses
        self._num_fill += step.num_fill
        self._num_admitted += len(step.admitted)
        self._num_evicted += step.num_evicted

    def counts(self) -> CacheCounts:
        """Returns the sums now."""
        return CacheCounts(
            num_minibatches=self._num_minibatches,
            num_requested=self._num_requested,
            num_hits=self._num_requested - self._num_misses,
            num_fill=self._num_fill,
            num_admitted=self._num_admitted,
            num_evicted=self._num_evicted,
        )
