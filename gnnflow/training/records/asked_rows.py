"""What a run asked for, remembered to tell when it is over what another cache would have moved."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow.cache.belady import belady_hits
from gnnflow.comm import Context
from gnnflow.config import CacheConfig
from gnnflow.loader import MinibatchCost
from gnnflow.prefetch.cache_setup import CacheSetup
from gnnflow.replay import ReplaySettings, TraceFacts, TraceRecorder, replay_trace
from gnnflow.replay.optimum import OPTIMUM_FILE, Optimum
from gnnflow.training.records.step_metrics import StepMetrics
from gnnflow.training.records.summary import RunSummary

AnyIds = npt.NDArray[np.integer[Any]]

MAX_IDS = 1 << 23
"""Ids that a rank remembers: 32 MiB, and some seconds of work at the end."""
_IDS_PER_ARRAY = 40
"""What an array takes besides its content, in ids."""
_PREFERRED = "lookahead"
# Others may hold rows together with the ranks of their machine, which a replay leaves out.
_REPLAYED = ("decay", "lru")


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


def cache_warning(
    summary: RunSummary,
    config: CacheConfig,
    asked: AskedRows,
    setup: CacheSetup | None,
    num_steps: int,
    ctx: Context,
) -> str | None:
    """Says that a cache cost rows, and which setting a replay prefers; all ranks call this.

    Args:
        summary: What the run came to, the same on all ranks.
        config: The options of its cache.
        asked: What this rank's minibatches asked for.
        setup: This rank's cache, if it has one.
        num_steps: Minibatches of an epoch.
        ctx: The job.

    Returns:
        One line, the same on all ranks; None if the cache did not cost rows.
    """
    moved, without = summary.volume_rows, summary.rows_without_cache
    if moved <= without:
        return None
    more = f"{100 * (moved / without - 1):.0f} % more than" if without else "and"
    said = f"the halo cache cost rows: {moved:,} were fetched, {more} {without:,} without it"
    words = [] if config.scorer == _PREFERRED else [f"--scorer {_PREFERRED}"]
    if config.cache_fill != "empty":
        words.append("--cache-fill empty")
    if not words:
        return f"{said}; --cache-scope rank fetches none at the start, and more epochs pay for them"
    preferred = " ".join(words)
    # A run that went on from a checkpoint has not seen all that its summary counts.
    minibatches = asked.minibatches
    is_whole = minibatches is not None and len(minibatches) == num_steps * len(summary.epochs)
    hits = _best_hits(minibatches or [], setup) if is_whole else -1
    of_ranks = [int(found[0]) for found in ctx.allgather_array(np.array([hits], dtype=np.int64))]
    if min(of_ranks) < 0 or config.scorer not in _REPLAYED:
        return f"{said}; {preferred} does not"
    return f"{said}; {preferred} would have fetched {without - sum(of_ranks):,}, by replay"


def _best_hits(minibatches: Sequence[AnyIds], setup: CacheSetup | None) -> int:
    """Rows that the preferred cache of this size would have found."""
    if setup is None or setup.capacity == 0:
        return 0
    halo = setup.halo
    facts = TraceFacts(graph="", rank=0, num_ranks=1)
    recorder = TraceRecorder(facts, halo.vertices, halo.degrees, halo.vip)
    for ids in minibatches:
        recorder.add(ids.astype(np.int64))
    settings = ReplaySettings(scorer=_PREFERRED, capacity=setup.capacity)
    return int(replay_trace(recorder.trace(), settings).rows_hit.sum())
