"""Remembers what a run asked for, to tell the least traffic when it is over."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow.cache.belady import belady_hits
from gnnflow.comm import Context
from gnnflow.loader import MinibatchCost
from gnnflow.replay.optimum import OPTIMUM_FILE, Optimum
from gnnflow.training.records.step_metrics import StepMetrics

AnyIds = npt.NDArray[np.integer[Any]]

MAX_IDS = 1 << 23
"""Ids that a rank remembers: 32 MiB, and some seconds of work at the end."""
_IDS_PER_ARRAY = 40
"""What an array takes besides its content, in ids."""


class AskedRows:
    """Remembers which remote rows minibatches asked for, up to a bound."""

    def __init__(self, max_ids: int = MAX_IDS) -> None:
        """Takes the number of ids beyond which all are forgotten."""
        self._max_ids = max_ids
        self._num_ids = 0
        self._minibatches: list[AnyIds] | None = []

    def add(self, epoch: int, cost: MinibatchCost, metrics: StepMetrics) -> None:
        """Notes a minibatch that has been trained."""
        self._num_ids += len(cost.remote_ids) + _IDS_PER_ARRAY
        if self._num_ids > self._max_ids:
            self._minibatches = None
        if self._minibatches is not None:
            fits = not len(cost.remote_ids) or cost.remote_ids.max() <= np.iinfo(np.int32).max
            self._minibatches.append(cost.remote_ids.astype(np.int32 if fits else np.int64))

    @property
    def minibatches(self) -> Sequence[AnyIds] | None:
        """What each minibatch asked for; None if there were too many ids to remember."""
        return self._minibatches

    @property
    def is_empty(self) -> bool:
        """Whether no minibatch was noted."""
        return self._minibatches == []

    def best_hits(self, capacity: int) -> npt.NDArray[np.int64] | None:
        """Returns what the best cache would have found.

        Args:
            capacity: rows that it can hold.

        Returns:
            int64 `[num_minibatches]`, or None if there were too many ids to remember.
        """
        if self._minibatches is None:
            return None
        return belady_hits([ids.astype(np.int64) for ids in self._minibatches], capacity)


def write_optimum(folder: Path, asked: AskedRows, capacity: int, ctx: Context) -> None:
    """Puts the best hits of all ranks together into the folder of the run; all ranks call this.

    A run that went on from its last step asked for nothing and keeps what was noted before.
    """
    hits = asked.best_hits(capacity)
    facts = ctx.allgather_array(np.array([hits is not None, capacity], dtype=np.int64))
    all_hits = ctx.allgather_array(np.zeros(0, dtype=np.int64) if hits is None else hits)
    if ctx.rank != 0 or (asked.is_empty and (folder / OPTIMUM_FILE).exists()):
        return
    is_known = all(is_known for is_known, _ in facts)
    left_out = (
        f"a rank's minibatches asked for more than {MAX_IDS:,} remote rows, more than it "
        "remembers; with --trace they are kept on disk"
    )
    Optimum(
        capacity_rows=[int(rows) for _, rows in facts],
        hits=np.sum(all_hits, axis=0) if is_known else None,
        left_out=None if is_known else left_out,
    ).write(folder)
