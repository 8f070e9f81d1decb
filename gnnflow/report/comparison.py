"""Several runs side by side: numbers with the best marked, options that differ, curves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnnflow.report import charts, curves
from gnnflow.report.charts import Chart
from gnnflow.report.curves import Windows
from gnnflow.report.figures import option_groups, over_optimum, wait_share
from gnnflow.report.run_record import RunRecord
from gnnflow.units import human_bytes

Value = float | None


@dataclass(frozen=True, slots=True)
class ComparedRow:
    """A number of all runs."""

    key: str
    label: str
    cells: tuple[tuple[str, bool], ...]
    """Text of each run, and whether it is the best."""


def compared_rows(records: Sequence[RunRecord]) -> list[ComparedRow]:
    """The numbers that runs are compared by; the best is marked where there is one."""

    def summary(name: str) -> Callable[[RunRecord], Value]:
        return lambda record: record.summary.get(name)

    score = str(records[0].summary["score"])
    percent, four = "{:.1%}".format, "{:.4f}".format
    rows: list[tuple[str, str, Callable[[RunRecord], Value], Callable[[float], str], int]] = [
        ("test", f"Test {score}", summary("test_accuracy"), four, 1),
        ("val", f"Validation {score}", summary("val_accuracy"), four, 1),
        ("loss", "Loss at the end", lambda record: _last_loss(record), four, -1),
        ("epoch_time", "Seconds per epoch", summary("epoch_time_s"), "{:.2f}".format, -1),
        ("wait", "Waiting for minibatches", wait_share, percent, -1),
        ("hit_rate", "Hit rate", summary("hit_rate"), percent, 1),
        ("volume_rows", "Rows fetched", summary("volume_rows"), "{:,.0f}".format, -1),
        ("volume_bytes", "Bytes fetched", summary("volume_bytes"), human_bytes, -1),
        ("relative", "Rows over no cache", _relative_volume, "{:.3f} ×".format, -1),
        ("over_optimum", "Rows over Belady's", over_optimum, "{:.3f} ×".format, -1),
        ("memory", "Peak memory of a rank", summary("peak_memory_bytes"), human_bytes, -1),
        ("ranks", "Ranks", summary("num_ranks"), "{:.0f}".format, 0),
        ("epochs", "Epochs", lambda record: len(record.summary["epochs"]), "{:.0f}".format, 0),
        ("decisions", "Decisions", lambda record: len(record.decisions), "{:,.0f}".format, 0),
    ]
    made = []
    for key, label, get, text, better in rows:
        values = [get(record) for record in records]
        if any(values):
            made.append(ComparedRow(key, label, _cells(values, text, better)))
    return made


def differing_options(records: Sequence[RunRecord]) -> list[tuple[str, list[str]]]:
    """Options that are not the same in all runs, with the value of each."""
    tables = [
        {name: value for _, options in option_groups(record.config) for name, value in options}
        for record in records
    ]
    names = dict.fromkeys(name for table in tables for name in table)
    return [
        (name, [table.get(name, "–") for table in tables])
        for name in names
        if name != "out" and len({table.get(name) for table in tables}) > 1
    ]


def compared_charts(records: Sequence[RunRecord], names: Sequence[str]) -> list[Chart]:
    """The curves of all runs on top of each other, on the steps of the longest."""
    longest = max(records, key=lambda record: record.num_steps)
    windows = Windows.of(longest.num_steps)
    kinds: list[tuple[str, str, Callable[[RunRecord, Windows], Any]]] = [
        ("hit-rate", "share", lambda record, own: curves.hit_rates(record, own)[0]),
        ("volume", "count", _volume),
        ("loss", "plain", curves.losses),
    ]
    made = []
    for kind, form, values_of in kinds:
        series = []
        for index, (name, record) in enumerate(zip(names, records, strict=True)):
            own = Windows(num_steps=record.num_steps, length=windows.length)
            values = np.full(len(windows.starts), np.nan)
            values[: len(own.starts)] = values_of(record, own)
            if not np.isnan(values).all():
                series.append(charts.line(name, values, f"c{index % 8 + 1}", width=2))
        if series:
            y_range = charts.share_range(series) if form == "share" else None
            made.append(charts.chart(kind, windows, series, format=form, y_range=y_range))
    score = _score_chart(records, names)
    return made if score is None else [*made, score]


def _score_chart(records: Sequence[RunRecord], names: Sequence[str]) -> Chart | None:
    curves_of: list[dict[int, float]] = []
    for record in records:
        epochs, scores = charts.epoch_scores(record)
        best = next(iter(scores.values()), [])
        curves_of.append(dict(zip(epochs, best, strict=False)))
    epochs = sorted({epoch for points in curves_of for epoch in points})
    if len(epochs) < 2:
        return None
    series = [
        charts.line(
            name,
            [points.get(epoch, np.nan) for epoch in epochs],
            f"c{index % 8 + 1}",
            width=2,
            points=True,
        )
        for index, (name, points) in enumerate(zip(names, curves_of, strict=True))
    ]
    return {
        "id": "score",
        "x": epochs,
        "x_name": "epoch",
        "format": "plain",
        "series": series,
        "marks": [],
        "epochs": [],
        "y_range": None,
    }


def _cells(
    values: Sequence[Value], text: Callable[[float], str], better: int
) -> tuple[tuple[str, bool], ...]:
    known = [value for value in values if value is not None]
    best = None
    if better and len(set(known)) > 1:
        best = max(known) if better > 0 else min(known)
    return tuple(
        ("–", False) if value is None else (text(value), value == best) for value in values
    )


def _last_loss(record: RunRecord) -> float | None:
    loss = record.summary["epochs"][-1]["loss"]
    return None if loss is None else float(loss)


def _relative_volume(record: RunRecord) -> float | None:
    needed = record.summary["rows_without_cache"]
    return record.summary["volume_rows"] / needed if needed else None


def _volume(record: RunRecord, windows: Windows) -> Any:
    return curves.cumulative(record.field("rows_fetched").sum(1), windows)
