"""A word at the end of a run whose halo cache moved more rows than no cache at all."""

from collections.abc import Sequence

import numpy as np

from gnnflow.comm import Context
from gnnflow.config import CacheConfig
from gnnflow.prefetch.cache_setup import CacheSetup
from gnnflow.replay import ReplaySettings, TraceFacts, TraceRecorder, replay_trace
from gnnflow.training.records.asked_rows import AnyIds, AskedRows
from gnnflow.training.records.summary import RunSummary

_PREFERRED = "lookahead"
# Others may hold rows together with the ranks of their machine, which a replay leaves out.
_REPLAYED = ("decay", "lru")


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
