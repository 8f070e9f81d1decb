"""The pictures of docs/results.md."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.matrix.cells import CONTENDERS, STEPS_OF
from benchmarks.peers.pyg_job import PYG
from benchmarks.results.matrix_records import Matrix, Result, human_rate, is_ours
from benchmarks.results.scaling_tables import own_core_s

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RATE, BUDGET, PARTS = "200mbit", 25, 2
"""What most pictures show."""
LINES = (
    *("static", "classifier", "llm", "llm-tuned", "bandit", "auto"),
    *("lookahead", "lookahead-dependent", "lookahead-stored"),
)
"""Contenders in pictures over budgets."""
SHOWN = ("static", "bandit", "llm-tuned", "lookahead")
"""Contenders whose hit rates are shown by minibatch."""
_WINDOW = 8
_STAGES = {
    "sample_s": ("sampling", "#8da0cb"),
    "fetch_s": ("fetching", "#fc8d62"),
    "wait_s": ("waiting for the minibatch", "#e78ac3"),
    "all_reduce_s": ("summing gradients", "#a6d854"),
    "compute_s": ("computing", "#66c2a5"),
}
_OTHERS = [name for name in CONTENDERS if name != PYG]
_TONES = (*(f"C{number}" for number in range(10)), "gold", "navy")
_COLOURS = dict(zip(_OTHERS, _TONES, strict=True)) | {PYG: "black"}
# Times the median; longer bars are cut, so that the others can be told apart.
_LONGEST = 3.5
Draw = Callable[[Matrix, dict[str, Any]], "Figure"]


def draw(matrix: Matrix, scaling: dict[str, Any], folder: Path) -> Iterator[Path]:
    """Draws all pictures into a folder and returns their paths one by one."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in PICTURES.items():
        path = folder / f"{name}.png"
        make(matrix, scaling).savefig(path, dpi=80)
        yield path


def epoch_times(matrix: Matrix, scaling: dict[str, Any]) -> "Figure":
    """Bars of epoch times, a panel for each graph and number of parts."""
    places = [place for place in matrix.places() if place[2] == RATE and matrix.at(*place, BUDGET)]
    figure, panels = _figure(len(places), columns=2, height=3.4)
    for (graph, parts, rate), axes in zip(places, panels, strict=True):
        results = matrix.at(graph, parts, rate, BUDGET)
        longest = _LONGEST * median(result.epoch_s for result in results)
        for position, result in enumerate(results):
            spread = [
                [result.epoch_s - min(result.epochs_s)],
                [max(result.epochs_s) - result.epoch_s],
            ]
            axes.barh(
                position,
                result.epoch_s,
                xerr=spread,
                color=_COLOURS[result.cell.policy],
                hatch="//" if result.cell.mode == "sync" else None,
            )
            is_cut = result.epoch_s > longest
            axes.annotate(
                f"{result.epoch_s:.2f} \N{RIGHTWARDS ARROW}"
                if is_cut
                else f" {result.epoch_s:.2f}",
                (longest if is_cut else max(result.epochs_s), position),
                ha="right" if is_cut else "left",
                va="center",
                fontsize=8,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1} if is_cut else None,
            )
        axes.set_yticks(range(len(results)), [result.title for result in results], fontsize=8)
        axes.invert_yaxis()
        shown = [result.epoch_s for result in results if result.epoch_s <= longest]
        cut = longest if len(shown) < len(results) else 0.0
        axes.set_xlim(0, max(cut, 1.15 * max(shown)))
        axes.set_title(f"{graph}, {parts} parts, {human_rate(rate)}", fontsize=10)
        axes.set_xlabel(f"seconds of an epoch, caches of {BUDGET} %")
    return figure


def _over_budgets(
    matrix: Matrix, value: Callable[[Result], float], label: str, *, optimum: bool
) -> "Figure":
    places = [
        place
        for place in matrix.places()
        if place[1:] == (PARTS, RATE) and len(matrix.budgets(*place)) > 1
    ]
    figure, panels = _figure(len(places), columns=max(len(places), 1), height=4)
    for (graph, parts, rate), axes in zip(places, panels, strict=True):
        budgets = matrix.budgets(graph, parts, rate)
        for policy in LINES:
            own = [
                (budget, 100 * value(result))
                for budget in budgets
                if (result := matrix.one(graph, parts, rate, budget, policy)) is not None
            ]
            if own:
                title, colour = CONTENDERS[policy].title, _COLOURS[policy]
                axes.plot(*zip(*own, strict=True), marker="o", color=colour, label=title)
        if optimum:
            best = sorted(
                (line["budget"], 100 * line["belady_volume"])
                for line in matrix.replays()
                if (line["graph"], line["parts"]) == (graph, parts)
            )
            if best:
                axes.plot(*zip(*best, strict=True), "k--", label="Belady's optimum")
        axes.set_title(f"{graph}, {parts} parts", fontsize=10)
        axes.set_xlabel("budget, % of the halo vertices")
        axes.set_ylim(0, 100)
        axes.grid(alpha=0.3)
        axes.set_ylabel(label)
        _legend(axes, 7)
    return figure


def hit_rates(matrix: Matrix, scaling: dict[str, Any]) -> "Figure":
    """Hits over budgets."""
    label = "remote rows found in the cache, %"
    return _over_budgets(matrix, lambda result: result.hit_rate, label, optimum=False)


def volumes(matrix: Matrix, scaling: dict[str, Any]) -> "Figure":
    """Communication volume over budgets."""
    label = "rows moved, % of no cache"
    return _over_budgets(matrix, lambda result: result.volume, label, optimum=True)


def breakdown(matrix: Matrix, scaling: dict[str, Any]) -> "Figure":
    """Where an epoch's seconds go."""
    places = [
        place for place in matrix.places() if place[1] == PARTS and place[2] in (RATE, "1gbit")
    ]
    figure, panels = _figure(len(places), columns=2, height=3.4)
    for (graph, parts, rate), axes in zip(places, panels, strict=True):
        results = [
            result for result in matrix.at(graph, parts, rate, BUDGET) if result.cell.mode != "sync"
        ]
        for position, result in enumerate(results):
            begin = 0.0
            for name, (label, colour) in _STAGES.items():
                # gnnflow samples and fetches beside training: that is not part of the sum.
                if name in ("sample_s", "fetch_s") and is_ours(result):
                    continue
                seconds = result.median(name) or 0.0
                axes.barh(position, seconds, left=begin, color=colour, label=label)
                begin += seconds
            if is_ours(result):
                fetch_s = result.median("fetch_s") or 0.0
                axes.plot([fetch_s] * 2, [position - 0.4, position + 0.4], "k", lw=1.5)
        axes.set_yticks(range(len(results)), [result.title for result in results], fontsize=8)
        axes.invert_yaxis()
        axes.set_title(f"{graph}, {parts} parts, {human_rate(rate)}", fontsize=10)
        axes.set_xlabel("seconds of an epoch; line: fetching beside it")
    if panels:
        handles, labels = panels[0].get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        figure.legend(
            unique.values(), unique.keys(), loc="outside lower center", ncols=5, fontsize=8
        )
    return figure


def decisions(matrix: Matrix, scaling: dict[str, Any]) -> "Figure":
    """Hit rate by minibatch of one rank, with the decisions to replace."""
    figure, (axes,) = _figure(1, columns=1, height=4, width=10)
    for result in matrix.results:
        steps = next((line["steps"] for line in result.lines if "steps" in line), None)
        if steps is None or result.cell.policy not in SHOWN or result.cell.mode == "async":
            continue
        colour = _COLOURS[result.cell.policy]
        rates = [100 * rate for rate in steps["hit_rate"]]
        window = [
            sum(rates[max(0, at - _WINDOW + 1) : at + 1]) / min(at + 1, _WINDOW)
            for at in range(len(rates))
        ]
        axes.plot(window, color=colour, label=result.title)
        if result.cell.policy != "static":
            marked = [at for at in steps["replaced"] if at < len(window)]
            axes.plot(marked, [window[at] for at in marked], "v", color=colour, ms=5)
    axes.set_xlabel("minibatch")
    axes.set_ylabel(f"hits of the last {_WINDOW} minibatches, %")
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.3)
    _legend(axes, 8)
    axes.set_title(
        f"{STEPS_OF['graph']}, rank 0 of {PARTS}, "
        f"{BUDGET} %, {human_rate(RATE)}; triangles: decided to replace",
        fontsize=10,
    )
    return figure


def scaling_figure(matrix: Matrix, scaling: dict[str, Any]) -> "Figure":
    """Efficiency with the ranks that ran, and estimated epochs beyond."""
    makes = {"strong": _efficiency, "estimated": _estimates}
    drawn = [make for section, make in makes.items() if scaling.get(section)]
    figure, panels = _figure(len(drawn), columns=max(len(drawn), 1), height=4)
    for make, axes in zip(drawn, panels, strict=True):
        make(scaling, axes)
        axes.grid(alpha=0.3)
        _legend(axes, 8)
    return figure


def _efficiency(scaling: dict[str, Any], axes: "Axes") -> None:
    for section, grows in (("strong", False), ("weak", True)):
        rows = scaling.get(section, [])
        ranks = [row["ranks"] for row in rows]
        for hidden, style in ((0, "-"), (1, "--")):
            efficiency = [
                100
                * rows[0]["processor_s"]
                / (1 if grows else row["ranks"])
                / own_core_s(row)[hidden]
                for row in rows
            ]
            label = f"{section}, traffic {'not hidden' if hidden else 'hidden'}"
            axes.plot(
                ranks, efficiency, style, marker="o", color="C1" if grows else "C0", label=label
            )
    axes.set_xscale("log", base=2)
    axes.set_xlabel("ranks")
    axes.set_ylabel("efficiency with a core for each rank, %")
    axes.set_ylim(0, 110)


def _estimates(scaling: dict[str, Any], axes: "Axes") -> None:
    rows = scaling["estimated"]
    parts = [row["parts"] for row in rows]
    for number, who in enumerate(("none", "static", "lookahead")):
        for link, style in (("10gbit", "-"), ("1gbit", "--")):
            seconds = [row[who]["epoch_s"][link] for row in rows]
            label = f"{CONTENDERS[who].title}, {human_rate(link)}"
            axes.plot(parts, seconds, style, marker="o", color=f"C{number}", label=label)
    axes.plot(
        parts, [rows[0]["compute_s"] * parts[0] / part for part in parts], ":k", label="ideal"
    )
    axes.set_xscale("log", base=4)
    axes.set_yscale("log")
    axes.set_xticks(parts, [str(part) for part in parts])
    axes.set_xlabel("parts")
    axes.set_ylabel("estimated seconds of an epoch")


PICTURES: dict[str, Draw] = {
    "epoch-times": epoch_times,
    "hit-rates": hit_rates,
    "volumes": volumes,
    "breakdown": breakdown,
    "decisions": decisions,
    "scaling": scaling_figure,
}


def _legend(axes: "Axes", size: int) -> None:
    """A legend, if there is a line to tell about."""
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=size)


def _figure(
    num_panels: int, *, columns: int, height: float, width: float = 12
) -> tuple["Figure", Sequence["Axes"]]:
    """A figure of so many panels, a row's height in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    num_rows = max(-(-num_panels // columns), 1)
    figure = Figure(figsize=(width, height * num_rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels = [figure.add_subplot(num_rows, columns, number + 1) for number in range(num_panels)]
    return figure, panels
