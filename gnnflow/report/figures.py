"""Numbers of a run in words: headlines, time of each rank, decisions, parts, options."""

import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnnflow.policies.rivals import RIVALS
from gnnflow.report import curves
from gnnflow.report.decisions import DecisionLine
from gnnflow.report.run_record import PartitionFigures, RunRecord
from gnnflow.units import human_bytes, human_seconds, short_number, signed_percent

_MAX_TIME_ROWS = 16
_MAX_LISTED = 100
_SPLITS = (("test", "Test"), ("val", "Validation"), ("train", "Train"))


@dataclass(frozen=True, slots=True)
class Tile:
    """A headline number."""

    key: str
    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of a bar."""

    name: str
    text: str
    percent: float


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of stretches."""

    label: str
    text: str
    segments: tuple[Stretch, ...]


def tiles(record: RunRecord) -> list[Tile]:
    """The headline numbers."""
    summary = record.summary
    score_name = str(summary["score"])
    known = [
        (words, summary.get(f"{split}_accuracy"))
        for split, words in _SPLITS
        if summary.get(f"{split}_accuracy") is not None
    ]
    made = []
    if known:
        (words, value), others = known[0], known[1:]
        note = ", ".join(f"{name.lower()} {other:.4f}" for name, other in others)
        made.append(Tile("score", f"{words} {score_name}", f"{value:.4f}", note))
    num_epochs = len(summary["epochs"])
    made.append(
        Tile(
            "epoch_time",
            "Seconds per epoch",
            f"{summary['epoch_time_s']:.2f}",
            f"{num_epochs} epochs, {summary['total_time_s']:.0f} s with evaluation",
        )
    )
    made.append(
        Tile(
            "wait",
            "Waiting for minibatches",
            f"{wait_share(record):.0%}",
            "of the slowest rank's time",
        )
    )
    if summary["hit_rate"] is not None:
        made.append(
            Tile("hit_rate", "Hit rate", f"{summary['hit_rate']:.1%}", "of remote rows needed")
        )
    if summary["rows_without_cache"]:
        rows = int(summary["volume_rows"])
        change = rows / int(summary["rows_without_cache"]) - 1
        moved = human_bytes(summary["volume_bytes"])
        against = "" if not change else f", {signed_percent(change)} against no cache"
        made.append(Tile("volume", "Rows fetched", short_number(rows), moved + against))
    over = over_optimum(record)
    if over is not None:
        made.append(
            Tile("over_optimum", "Against Belady", f"{over:.2f} ×", "of the least rows possible")
        )
    if record.decisions:
        counts = Counter(decision.kind for decision in record.decisions)
        note = f"{counts['replace']:,} replaced, {counts['keep']:,} kept"
        if counts["missed"]:
            note += f", {counts['missed']:,} not followed"
        policy = summary.get("policy") or {}
        note += _pass_at_1(policy)
        label = f"Decisions of {policy['name']}" if policy else "Decisions"
        made.append(Tile("decisions", label, f"{len(record.decisions):,}", note))
    memory = human_bytes(summary["peak_memory_bytes"])
    made.append(Tile("memory", "Peak memory", memory, "of a rank"))
    return made


def _pass_at_1(policy: Mapping[str, Any]) -> str:
    """The share of better choices beside its rivals; nothing where these are not known."""
    names = ("pass_at_1", *RIVALS)
    if any(policy.get(name) is None for name in names):
        return ""
    rivals = ", ".join(f"{words} in {policy[name]:.0%}" for name, words in RIVALS.items())
    return (
        f"; the better choice in {policy['pass_at_1']:.0%} ({rivals}; other policies meet other "
        "situations)"
    )


def wait_share(record: RunRecord) -> float:
    """Share of the training loop that the slowest rank waited for minibatches."""
    waited = record.field("wait_s").sum(0)
    total = sum(float(epoch["epoch_time_s"]) for epoch in record.summary["epochs"])
    return float(waited.max()) / total if total else 0.0


def over_optimum(record: RunRecord) -> float | None:
    """Rows that crossed over the least possible; None if that is not known."""
    least = curves.least_rows(record)
    if least is None or not least.sum():
        return None
    return float(record.field("rows_fetched").sum() / least.sum())


def volume_sentence(record: RunRecord) -> str:
    """What the volume comes to, in words."""
    fetched = float(record.field("rows_fetched").sum())
    needed = float(curves.rows_without_cache(record).sum())
    least = curves.least_rows(record)
    said = f"{fetched:,.0f} rows crossed between ranks"
    if needed:
        said += f" of {needed:,.0f} that were needed ({signed_percent(fetched / needed - 1)})."
    if least is not None and least.sum():
        more = fetched / float(least.sum()) - 1
        if more < 0.0005:
            return f"{said} No cache of this size could have done with fewer."
        return (
            f"{said} The best cache of this size would have fetched {least.sum():,.0f}; this is "
            f"{signed_percent(more)}."
        )
    return f"{said} The least possible is not shown: {record.optimum.left_out}."


def time_bars(record: RunRecord) -> list[tuple[str, list[Bar]]]:
    """Where the time of each rank went: in the training loop, and beside it.

    Of many ranks those that computed longest are shown.
    """
    total = sum(float(epoch["epoch_time_s"]) for epoch in record.summary["epochs"])
    seconds = {
        name: record.field(f"{name}_s").sum(0)
        for name in ("compute", "all_reduce", "wait", "fetch", "sample")
    }
    order = np.argsort(-seconds["compute"], kind="stable")[:_MAX_TIME_ROWS]
    longest = max(total, float((seconds["sample"] + seconds["fetch"]).max()))
    loops, beside = [], []
    for rank in sorted(order.tolist()):
        own = {name: float(values[rank]) for name, values in seconds.items()}
        loop = [(name, own[name]) for name in ("compute", "all_reduce", "wait")]
        rest = total - sum(value for _, value in loop)
        loops.append(_bar(f"rank {rank}", [*loop, ("other", max(rest, 0.0))], longest))
        made = [(name, own[name]) for name in ("sample", "fetch")]
        beside.append(_bar(f"rank {rank}", made, longest))
    return [("In the training loop", loops), ("Preparing minibatches, beside it", beside)]


def decision_rows(record: RunRecord) -> tuple[list[DecisionLine], str]:
    """The decisions worth listing, and a word on how many there are."""
    decisions = list(record.decisions)
    shown = [each for each in decisions if each.kind != "keep"][:_MAX_LISTED]
    if len(shown) < _MAX_LISTED:
        kept = [each for each in decisions if each.kind == "keep"][: _MAX_LISTED - len(shown)]
        shown = sorted([*shown, *kept], key=lambda each: (each.minibatch, each.rank))
    latency = statistics.median(each.latency_s for each in decisions) if decisions else 0.0
    said = f"{len(decisions):,} decisions, answered in {human_seconds(latency)} (median)."
    if len(shown) < len(decisions):
        said += f" Listed: {len(shown)}, replacements first; all are in decisions-rankN.jsonl."
    return shown, said


def part_bars(figures: PartitionFigures) -> list[tuple[str, str, list[Bar]]]:
    """For each thing that is counted: its name, its balance, and a bar for each part."""
    groups = []
    for name, values in figures.sizes.items():
        if not values.sum():
            continue
        largest = float(values.max())
        bars = [
            Bar(f"part {part}", f"{value:,}", (Stretch(name, "", 100 * value / largest),))
            for part, value in enumerate(values.tolist())
        ]
        groups.append((name, f"max / mean {largest / values.mean():.3f}", bars))
    return groups


def halo_cells(figures: PartitionFigures) -> list[list[tuple[str, int]]]:
    """The table of rows that parts may ask each other for: text and shade, 0 to 100, of a cell."""
    matrix = figures.halo_rows
    if matrix is None:
        return []
    largest = max(int(matrix.max()), 1)
    return [
        [
            ("", 0) if row == column else (short_number(value), round(100 * value / largest))
            for column, value in enumerate(values)
        ]
        for row, values in enumerate(matrix.tolist())
    ]


def option_groups(config: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Options by group, as on the command line."""
    groups: dict[str, list[tuple[str, str]]] = {"data": []}
    for name, value in config.items():
        if isinstance(value, Mapping):
            groups[name] = [(option_name(each), option_text(it)) for each, it in value.items()]
        else:
            groups["data"].append((option_name(name), option_text(value)))
    return [(name, options) for name, options in groups.items() if options]


def option_name(name: str) -> str:
    """An option as the command line has it."""
    return name.replace("_", "-")


def option_text(value: Any) -> str:
    """The value of an option."""
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "default" if value is None else str(value)


def _bar(label: str, seconds: list[tuple[str, float]], longest: float) -> Bar:
    segments = tuple(
        Stretch(name.replace("_", "-"), f"{value:.2f} s", 100 * value / longest if longest else 0.0)
        for name, value in seconds
    )
    return Bar(label, f"{sum(value for _, value in seconds):.1f} s", segments)
