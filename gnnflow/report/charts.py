"""The charts of a run as plain data, drawn by report.js."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gnnflow.report import curves
from gnnflow.report.curves import Windows
from gnnflow.report.decisions import DecisionLine
from gnnflow.report.run_record import RunRecord

Chart = dict[str, Any]

MAX_RANK_LINES = 8
MAX_MARKS = 1500
_MAX_WORDS = 400
_MAX_EPOCH_LINES = 60


def hit_rate_chart(record: RunRecord) -> Chart | None:
    """Hit rate over minibatches, with the decisions as marks; None without remote rows."""
    windows = Windows.of(record.num_steps)
    job, ranks = curves.hit_rates(record, windows)
    if np.isnan(job).all():
        return None
    series = [line("all ranks", job, "c1", width=2.5)]
    shows_ranks = 1 < record.num_ranks <= MAX_RANK_LINES
    if shows_ranks:
        for rank in range(record.num_ranks):
            series.append(line(f"rank {rank}", ranks[:, rank], f"r{rank % 4 + 1}", width=1))
    marks = []
    for decision in thinned(record.decisions, MAX_MARKS):
        window = decision.minibatch // windows.length
        if not (0 <= window < len(job) and 0 <= decision.rank < record.num_ranks):
            continue
        rate = ranks[window, decision.rank] if shows_ranks else job[window]
        if math.isnan(rate):
            continue
        marks.append(
            {
                "x": decision.minibatch,
                "y": number(rate),
                "kind": decision.kind,
                "lines": [text[:_MAX_WORDS] for text in decision.lines],
            }
        )
    return chart(
        "hit-rate",
        windows,
        series,
        format="share",
        marks=marks,
        epochs=epoch_starts(record),
        y_range=share_range(series),
    )


def volume_chart(record: RunRecord) -> Chart | None:
    """Rows that crossed since the start, beside no cache and Belady; None without remote rows."""
    needed = curves.rows_without_cache(record)
    if not needed.sum():
        return None
    windows = Windows.of(record.num_steps)
    fetched = record.field("rows_fetched").sum(1)
    series = [
        line("no cache", curves.cumulative(needed, windows), "c2", dash=True),
        line("this run", curves.cumulative(fetched, windows), "c1", width=2.5),
    ]
    least = curves.least_rows(record)
    if least is not None:
        series.append(line("Belady's optimum", curves.cumulative(least, windows), "c3", dash=True))
    return chart("volume", windows, series, format="count", epochs=epoch_starts(record))


def loss_chart(record: RunRecord) -> Chart:
    """Loss over minibatches."""
    windows = Windows.of(record.num_steps)
    series = [line("loss", curves.losses(record, windows), "c1", width=2)]
    return chart("loss", windows, series, format="plain", epochs=epoch_starts(record))


def score_chart(record: RunRecord) -> Chart | None:
    """Scores after each evaluated epoch; None if only the end was evaluated."""
    epochs, scores = epoch_scores(record)
    if len(epochs) < 2:
        return None
    series = [
        line(split, values, f"c{index + 1}", width=2, points=True)
        for index, (split, values) in enumerate(scores.items())
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


def epoch_scores(record: RunRecord) -> tuple[list[int], dict[str, list[float]]]:
    """Evaluated epochs, from 1, and the scores of each split that has any."""
    evaluated = [
        epoch
        for epoch in record.summary["epochs"]
        if any(epoch.get(f"{split}_accuracy") is not None for split in ("train", "val", "test"))
    ]
    scores = {}
    for split, words in (("test", "test"), ("val", "validation"), ("train", "train")):
        values = [epoch.get(f"{split}_accuracy") for epoch in evaluated]
        if any(value is not None for value in values):
            scores[words] = [math.nan if value is None else float(value) for value in values]
    return [int(epoch["epoch"]) + 1 for epoch in evaluated], scores


def chart(
    name: str,
    windows: Windows,
    series: list[dict[str, Any]],
    *,
    format: str,
    marks: list[dict[str, Any]] | None = None,
    epochs: Sequence[int] = (),
    y_range: list[float] | None = None,
) -> Chart:
    """Puts a chart over minibatches together; a window's values stand at its last minibatch."""
    return {
        "id": name,
        "x": (windows.ends - 1).tolist(),
        "x_name": "minibatch",
        "format": format,
        "series": series,
        "marks": marks or [],
        "epochs": list(epochs),
        "y_range": y_range,
    }


def line(
    name: str,
    values: Iterable[float],
    color: str,
    *,
    width: float = 1.5,
    dash: bool = False,
    points: bool = False,
) -> dict[str, Any]:
    """One line of a chart; its colour is the name of a CSS variable."""
    return {
        "name": name,
        "values": [number(value) for value in values],
        "color": color,
        "width": width,
        "dash": dash,
        "points": points,
    }


def share_range(series: Iterable[dict[str, Any]]) -> list[float]:
    """The axis of shares: from 0 to a little over the largest, at most to 1."""
    values = [value for each in series for value in each["values"] if value is not None]
    return [0.0, number(min(1.0, 1.15 * max(values, default=1.0) or 1.0)) or 1.0]


def epoch_starts(record: RunRecord) -> list[int]:
    """First minibatch of every epoch but the first; none if there are too many to draw."""
    starts = np.flatnonzero(np.diff(record.epoch_of_step)) + 1
    return [] if len(starts) > _MAX_EPOCH_LINES else starts.tolist()


def thinned(decisions: Sequence[DecisionLine], limit: int) -> list[DecisionLine]:
    """At most so many decisions, evenly spread."""
    if len(decisions) <= limit:
        return list(decisions)
    chosen = np.linspace(0, len(decisions) - 1, limit).astype(int)
    return [decisions[index] for index in chosen]


def number(value: float) -> float | None:
    """A number in five digits, or None if it is not one."""
    return None if not math.isfinite(value) else float(f"{float(value):.5g}")
