"""The picture of a partition: how large its parts are and what flows between them."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gnnflow.errors import ConfigError, MissingExtraError, printable
from gnnflow.files.whole_file import write_whole
from gnnflow.partition.quality import PartitionReport
from gnnflow.units import short_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SUFFIXES = (".png", ".svg", ".pdf")
_COLORS = ("#3b5b92", "#d98c3f", "#4c9a6a", "#a05195", "#8c8c8c")
_MAX_LABELLED_PARTS = 12


def check_output(path: Path) -> None:
    """Checks before the work that a picture can be made at all.

    Raises:
        ConfigError: If the file's kind is not known or its folder does not exist.
        MissingExtraError: If matplotlib is not installed.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise ConfigError(f"--plot must end in {', '.join(_SUFFIXES)}, got {path}")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"the folder of --plot {path} does not exist; make it first")
    _pyplot()


def plot_report(report: PartitionReport, path: Path, *, title: str = "") -> None:
    """Draws sizes of the parts, halo traffic between them and edges between them.

    Args:
        report: What `partition_graph` returned.
        path: Picture to write; the suffix says which kind.
        title: Shown above.

    Raises:
        ConfigError: If the file's kind is not known or its folder does not exist.
        MissingExtraError: If matplotlib is not installed.
        ResourceError: If it cannot be written.
    """
    check_output(path)
    pyplot = _pyplot()
    figure, (sizes, halo, edges) = pyplot.subplots(
        1, 3, figsize=(15, 4.6), width_ratios=(1.35, 1, 1), layout="constrained"
    )
    try:
        figure.suptitle(
            f"{printable(title)} · edge cut {report.edge_cut:.3f}".removeprefix(" · "),
            fontsize=13,
            fontweight="bold",
            parse_math=False,
        )
        _draw_sizes(sizes, report)
        _draw_matrix(halo, report.halo_traffic, "Rows that a part may ask another for", "rows")
        _draw_matrix(edges, report.edge_traffic, "Edges from part to part", "edges")
        picture = io.BytesIO()
        figure.savefig(picture, format=path.suffix[1:].lower(), dpi=150)
    finally:
        pyplot.close(figure)
    write_whole(path, picture.getvalue(), "the picture")


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plot", "--plot") from error
    # Draws to files only; a machine without a screen must do.
    matplotlib.use("agg")
    from matplotlib import pyplot

    return pyplot


def _draw_sizes(axes: "Axes", report: PartitionReport) -> None:
    """Bars of each part's share of everything that is balanced, over the mean."""
    counts = {"vertices": report.num_vertices, "edges": report.num_edges}
    counts |= {f"{name} seeds": numbers for name, numbers in report.num_seeds.items()}
    counts = {name: numbers for name, numbers in counts.items() if numbers.sum()}
    width = 0.8 / len(counts)
    positions = np.arange(report.num_parts)
    for number, (name, values) in enumerate(counts.items()):
        offset = (number - (len(counts) - 1) / 2) * width
        label = f"{name} (max/mean {values.max() / values.mean():.2f})"
        axes.bar(
            positions + offset,
            values / values.mean(),
            width * 0.92,
            label=label,
            color=_COLORS[number % len(_COLORS)],
        )
    axes.axhline(1.0, color="black", linewidth=0.8, linestyle="--")
    axes.set_ylim(0, max(1.25, axes.get_ylim()[1] * 1.25))
    axes.set_xticks(*_part_ticks(report.num_parts))
    axes.set_xlabel("part")
    axes.set_ylabel("size over mean size")
    axes.set_title("Sizes of the parts")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, ncols=2, frameon=False, loc="upper center")


def _draw_matrix(axes: "Axes", traffic: Any, title: str, unit: str) -> None:
    """Heat map of traffic into a part (row) from a part (column), the diagonal left out."""
    num_parts = len(traffic)
    between = np.where(np.eye(num_parts, dtype=bool), np.nan, traffic.astype(float))
    largest = float(np.nanmax(between, initial=0.0))
    image = axes.imshow(between, cmap="YlOrBr", vmin=0, vmax=max(1.0, largest))
    axes.set_facecolor("#eeeeee")
    if num_parts <= _MAX_LABELLED_PARTS:
        for row, column in np.ndindex(num_parts, num_parts):
            if row != column:
                value = float(between[row, column])
                color = "white" if value > 0.6 * largest else "black"
                axes.text(
                    column,
                    row,
                    short_number(value),
                    ha="center",
                    va="center",
                    fontsize=8,
                    color=color,
                )
    axes.set_xticks(*_part_ticks(num_parts))
    axes.set_yticks(*_part_ticks(num_parts))
    axes.set_xlabel("from part")
    axes.set_ylabel("into part")
    axes.set_title(title)
    axes.figure.colorbar(image, ax=axes, label=unit, shrink=0.85)


def _part_ticks(num_parts: int) -> tuple[list[int], list[str]]:
    step = -(-num_parts // 16)
    ticks = list(range(0, num_parts, step))
    return ticks, [str(tick) for tick in ticks]
