"""Curves of a run, thinned so that a page stays small whatever the number of steps."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow.array_types import FloatArray
from gnnflow.report.run_record import RunRecord

MAX_POINTS = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class Windows:
    """Steps of a run, grouped in windows of the same length; the last may be shorter."""

    num_steps: int
    """Steps of the run."""
    length: int
    """Steps of a window."""

    @classmethod
    def of(cls, num_steps: int, max_windows: int = MAX_POINTS) -> "Windows":
        """Chooses windows so that there are at most so many."""
        return cls(num_steps=num_steps, length=max(-(-num_steps // max_windows), 1))

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """int64 `[num_windows]`: first step of each."""
        return np.arange(0, self.num_steps, self.length)

    @property
    def ends(self) -> npt.NDArray[np.int64]:
        """int64 `[num_windows]`: first step after each."""
        return np.minimum(self.starts + self.length, self.num_steps)

    def sums(self, values: npt.NDArray[Any]) -> FloatArray:
        """Sums over the windows, `[num_windows, ...]` of `[num_steps, ...]`."""
        sums: FloatArray = np.add.reduceat(values.astype(np.float64), self.starts, axis=0)
        return sums


def hit_rates(record: RunRecord, windows: Windows) -> tuple[FloatArray, FloatArray]:
    """Hit rate of each window, never cumulative; NaN where no remote rows were asked for.

    Returns:
        float64 `[num_windows]` of all ranks together and `[num_windows, num_ranks]`.
    """
    found = windows.sums(record.field("rows_cached"))
    asked = windows.sums(record.field("rows_asked"))
    return _ratio(found.sum(1), asked.sum(1)), _ratio(found, asked)


def losses(record: RunRecord, windows: Windows) -> FloatArray:
    """Mean loss over the seeds of each window, `[num_windows]`."""
    seeds = record.field("num_seeds")
    lost = windows.sums(record.field("loss") * seeds).sum(1)
    return _ratio(lost, windows.sums(seeds).sum(1))


def cumulative(per_step: npt.NDArray[Any], windows: Windows) -> FloatArray:
    """Sum from the start of the run to the end of each window, `[num_windows]`."""
    total: FloatArray = np.cumsum(per_step, dtype=np.float64)[windows.ends - 1]
    return total


def rows_without_cache(record: RunRecord) -> FloatArray:
    """Remote rows needed in each step, `[num_steps]`: the volume without a cache."""
    needed: FloatArray = record.field("rows_remote").sum(1)
    return needed


def least_rows(record: RunRecord) -> FloatArray | None:
    """Rows that would have crossed in each step with Belady's cache; None if not known."""
    hits = record.optimum.hits
    if hits is None or not sum(record.optimum.capacity_rows):
        return None
    least: FloatArray = rows_without_cache(record) - hits
    return least


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    return np.divide(part, whole, out=np.full_like(whole, np.nan), where=whole > 0)
