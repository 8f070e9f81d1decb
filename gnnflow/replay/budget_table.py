"""Scorers and budgets over the traces of all ranks, beside Belady's optimum: table and picture."""

import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gnnflow.cache.belady import belady_hits
from gnnflow.errors import printable
from gnnflow.files.whole_file import write_whole
from gnnflow.replay.replay import ReplayResult, ReplaySettings
from gnnflow.replay.trace import Trace

OPTIMUM = "belady"
"""The name under which the optimum stands among the scorers."""
_COLUMNS = {"rows_asked": "num_requested", "rows_hit": "num_hits"}


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetRow:
    """One scorer at one budget, summed over the ranks."""

    scorer: str
    """Name of the scorer, or `belady`."""
    budget_percent: int
    """Size of the cache in percent of each rank's halo vertices."""
    cache_rows: int
    """Rows that the caches of all ranks can hold together."""
    rows_asked: int
    """Remote rows asked for: the volume without a cache."""
    rows_hit: int
    """Rows found."""
    volume_rows: int
    """Rows that cross between ranks, those that only fill caches included."""
    volume_bytes: int
    """The same in bytes."""
    largest_minibatch_rows: int
    """Most rows that any minibatch moves."""
    over_belady: float
    """Volume over that of the optimum."""
    never_filled: bool = False
    """Whether the period was not over before the trace was, so that no row came into the cache: the
    figures are those of no cache and say nothing about the scorer."""

    @property
    def hit_rate(self) -> float:
        """Rows found over rows asked for."""
        return self.rows_hit / max(self.rows_asked, 1)

    @property
    def relative_volume(self) -> float:
        """Volume over the volume without a cache."""
        return self.volume_rows / max(self.rows_asked, 1)

    def to_json(self) -> dict[str, Any]:
        """Returns the row for a file."""
        columns = {_COLUMNS.get(name, name): value for name, value in asdict(self).items()}
        return columns | {"hit_rate": self.hit_rate, "relative_volume": self.relative_volume}


def capacity_of(trace: Trace, budget_percent: int) -> int:
    """Returns the rows that a budget allows a rank."""
    return trace.num_budget_rows * budget_percent // 100


def budget_table(
    traces: Sequence[Trace],
    budgets: Sequence[int],
    scorers: Sequence[str],
    run: Callable[[Trace, str, int], ReplayResult],
) -> list[BudgetRow]:
    """Replays every scorer at every budget.

    Args:
        traces: Of all ranks.
        budgets: In percent of the halo vertices.
        scorers: Names.
        run: Replays a trace with a scorer and a capacity.

    Returns:
        A row for each budget and scorer, the optimum first at each budget.
    """
    rows = []
    for budget in budgets:
        hits = [belady_hits(trace.minibatches(), capacity_of(trace, budget)) for trace in traces]
        best = [
            ReplayResult(
                settings=ReplaySettings(scorer=OPTIMUM, capacity=capacity_of(trace, budget)),
                row_bytes=trace.facts.row_bytes,
                rows_asked=np.diff(trace.offsets),
                rows_hit=found,
                rows_filled=np.zeros_like(found),
                num_evicted=np.zeros_like(found),
                window=np.zeros_like(found),
                rows_filled_at_start=0,
            )
            for trace, found in zip(traces, hits, strict=True)
        ]
        least = sum(result.volume_rows for result in best)
        rows.append(_row(OPTIMUM, budget, best, least))
        for scorer in scorers:
            results = [run(trace, scorer, capacity_of(trace, budget)) for trace in traces]
            rows.append(_row(scorer, budget, results, least))
    return rows


def _row(scorer: str, budget: int, results: Sequence[ReplayResult], least: int) -> BudgetRow:
    volume = sum(result.volume_rows for result in results)
    return BudgetRow(
        scorer=scorer,
        budget_percent=budget,
        cache_rows=sum(result.settings.capacity for result in results),
        rows_asked=sum(int(result.rows_asked.sum()) for result in results),
        rows_hit=sum(int(result.rows_hit.sum()) for result in results),
        volume_rows=volume,
        volume_bytes=sum(result.volume_bytes for result in results),
        largest_minibatch_rows=max(int(result.rows_fetched.max(initial=0)) for result in results),
        over_belady=volume / least if least else 1.0,
        never_filled=scorer != OPTIMUM and all(map(_is_never_filled, results)),
    )


def _is_never_filled(result: ReplayResult) -> bool:
    period, capacity = result.settings.period, result.settings.capacity
    is_reached = 0 < period <= len(result.rows_asked)
    came_in = result.rows_hit.any() or result.rows_filled.any() or result.rows_filled_at_start
    return bool(capacity > 0 and not is_reached and not came_in)


def plot_budgets(rows: Sequence[BudgetRow], path: Path, *, title: str) -> None:
    """Draws one line for each scorer, the optimum in black and dashed above all.

    Args:
        rows: What `budget_table` returned.
        path: Picture to write.
        title: Shown above.

    Raises:
        ResourceError: If it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    hit_rates, volumes = figure.subplots(1, 2)
    names = list(dict.fromkeys(row.scorer for row in rows))
    # The optimum is drawn last: where a scorer reaches it, the dashes lie on its line.
    for name in sorted(names, key=lambda each: each == OPTIMUM):
        own = sorted(
            (row for row in rows if row.scorer == name), key=lambda row: row.budget_percent
        )
        budgets = [row.budget_percent for row in own]
        is_best = name == OPTIMUM
        style = {"color": "black", "linestyle": "--", "zorder": 9} if is_best else {"marker": "o"}
        hit_rates.plot(budgets, [100 * row.hit_rate for row in own], label=name, **style)
        volumes.plot(budgets, [100 * row.relative_volume for row in own], label=name, **style)
    hit_rates.set_ylabel("rows found in the cache, % of those asked for")
    volumes.set_ylabel("communication volume, % of no cache")
    volumes.set_ylim(bottom=0)
    hit_rates.set_ylim(0, 100)
    for axes in (hit_rates, volumes):
        axes.set_xlabel("budget, % of the halo vertices")
        axes.grid(alpha=0.3)
    volumes.legend()
    figure.suptitle(printable(title), parse_math=False)
    picture = io.BytesIO()
    figure.savefig(picture, format=path.suffix[1:].lower(), dpi=150)
    write_whole(path, picture.getvalue(), "the picture")
