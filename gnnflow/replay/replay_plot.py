"""The picture of a replay: hit rate and volume against budget, with Belady's curve on top."""

import io
from collections.abc import Sequence
from pathlib import Path

from gnnflow.errors import printable
from gnnflow.files.whole_file import write_whole
from gnnflow.replay.budget_table import OPTIMUM, BudgetRow


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
