"""The lines of the matrix, put together by cell: medians over runs, with their spread."""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.emulated_hosts import parse_rate
from benchmarks.equal_learning import Learnt, gaps
from benchmarks.hyperparameters import Hyperparameters
from benchmarks.matrix.cells import CONTENDERS, PEERS, Cell
from benchmarks.matrix.load import is_disturbed
from benchmarks.matrix.runs import typical

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """All runs of a cell."""

    cell: Cell
    lines: tuple[Line, ...]

    @property
    def epochs_s(self) -> list[float]:
        """Typical seconds of an epoch, run by run."""
        return [typical(line["epoch_time_s"]) for line in self.lines]

    @property
    def epoch_s(self) -> float:
        """Their median."""
        return statistics.median(self.epochs_s)

    @property
    def volume(self) -> float:
        """Rows that crossed over those without a cache, all epochs."""
        rows = sum(line["volume_rows"] for line in self.lines)
        return float(rows / max(sum(line["rows_without_cache"] for line in self.lines), 1))

    @property
    def hit_rate(self) -> float:
        """Remote rows found in the cache, as a share, all epochs."""
        return statistics.median(line["hit_rate"] or 0.0 for line in self.lines)

    @property
    def title(self) -> str:
        """As tables and figures call it."""
        title = CONTENDERS[self.cell.policy].title
        return f"{title}, {self.cell.mode}" if self.cell.mode else title

    @property
    def hyperparameters(self) -> Hyperparameters | None:
        """What all runs trained with, but for the seed; None of lines that do not say.

        Raises:
            ValueError: If runs of the cell differ.
        """
        if any("hyperparameters" not in line for line in self.lines):
            return None
        said = {
            replace(Hyperparameters.of_json(line["hyperparameters"]), seed=0) for line in self.lines
        }
        if len(said) > 1:
            raise ValueError(f"runs of {self.cell.name} trained with {said}")
        return said.pop()

    @property
    def learnt(self) -> Learnt:
        """Accuracies of the runs."""
        by_split = {}
        for split in ("val", "test"):
            values = [line.get(f"{split}_accuracy") for line in self.lines]
            by_split[split] = [value for value in values if value is not None]
        return Learnt(by_split=by_split)

    def median(self, name: str) -> float | None:
        """Median of a figure, None where the lines lack it."""
        values = [line[name] for line in self.lines if line.get(name) is not None]
        return statistics.median(values) if values else None

    def of_policy(self, name: str) -> float | None:
        """Median of a figure of its decisions, None where a schedule decides."""
        if self.cell.policy == "static":
            return None
        figures = [line.get("policy_figures", {}).get(name) for line in self.lines]
        values = [value for value in figures if value is not None]
        return statistics.median(values) if values else None


class Matrix:
    """All results, by cell."""

    def __init__(self, lines: Iterable[Line]) -> None:
        """Takes the lines of a file of the matrix.

        Raises:
            ValueError: If runs of one cell trained with different hyperparameters.
        """
        by_cell: dict[Cell, list[Line]] = {}
        self.num_disturbed = 0
        self._replays: dict[tuple[str, int, int], Line] = {}
        for line in lines:
            if line["kind"] == "replay":
                self._replays[line["graph"], line["parts"], line["budget"]] = line
                continue
            if is_disturbed(line):
                self.num_disturbed += 1
                continue
            by_cell.setdefault(Cell.of_line(line), []).append(line)
        order = list(CONTENDERS)
        self.results = sorted(
            (Result(cell, tuple(lines)) for cell, lines in by_cell.items()),
            key=lambda result: (order.index(result.cell.policy), result.cell.mode),
        )
        for result in self.results:
            _ = result.hyperparameters
        self.num_runs = sum(len(result.lines) for result in self.results)

    @classmethod
    def read(cls, path: Path) -> "Matrix":
        """Reads a file that `python -m benchmarks.matrix` has written."""
        return cls(json.loads(line) for line in path.read_text().splitlines())

    def replays(self) -> list[Line]:
        """What replays said, by graph, parts and budget."""
        return [line for _, line in sorted(self._replays.items(), key=lambda item: item[0])]

    def replay(self, graph: str, parts: int, budget: int) -> Line | None:
        """What replays said at a place, if they have been made."""
        return self._replays.get((graph, parts, budget))

    def at(self, graph: str, parts: int, rate: str, budget: int | None = None) -> Sequence[Result]:
        """Returns the results of a place; those without a cache belong to every budget."""
        return [
            result
            for result in self.results
            if (result.cell.graph, result.cell.parts, result.cell.rate) == (graph, parts, rate)
            and (budget is None or result.cell.budget in (0, budget))
        ]

    def one(self, graph: str, parts: int, rate: str, budget: int, policy: str) -> Result | None:
        """Returns a contender's result at a place; of several modes, the faster one."""
        found = [
            result for result in self.at(graph, parts, rate, budget) if result.cell.policy == policy
        ]
        return min(found, key=lambda result: result.epoch_s) if found else None

    def places(self) -> list[tuple[str, int, str]]:
        """Graph, parts and rate of all results, in the order in which the matrix runs them."""
        order = list(dict.fromkeys(result.cell.graph for result in self.results))
        places = {(each.cell.graph, each.cell.parts, each.cell.rate) for each in self.results}
        return sorted(places, key=lambda p: (order.index(p[0]), p[1], parse_rate(p[2])))

    def budgets(self, graph: str, parts: int, rate: str) -> list[int]:
        """Budgets that were run at a place."""
        return sorted({result.cell.budget for result in self.at(graph, parts, rate)} - {0})


NOT_COMPARABLE = "†"
"""Beside a ratio of runs that do not say what they trained with, or for how long."""
DIFFER = "‡"
"""Beside a ratio of runs whose accuracies are further apart than the seeds of either side."""


def learning_mark(result: Result, other: Result) -> str:
    """What is to be said of the accuracies of two results whose times are compared.

    Lines that do not say what they trained with are taken for equal where gnnflow ran both, for as
    many epochs.

    Returns:
        `NOT_COMPARABLE`, `DIFFER`, or nothing.

    Raises:
        ValueError: If the results say that they trained with different hyperparameters.
    """
    ours, theirs = result.hyperparameters, other.hyperparameters
    if ours is None or theirs is None:
        epochs = {len(line["epoch_time_s"]) for line in (*result.lines, *other.lines)}
        if len(epochs) > 1 or not (is_ours(result) and is_ours(other)):
            return NOT_COMPARABLE
    elif ours != theirs:
        raise ValueError(f"{result.cell.name} trained with {ours}, {other.cell.name} with {theirs}")
    return DIFFER if any(gap.exceeds for gap in gaps(result.learnt, other.learnt)) else ""


def human_rate(rate: str) -> str:
    """A rate for people."""
    bits = parse_rate(rate)
    return f"{bits / 1e9:g} Gbit/s" if bits >= 1e9 else f"{bits / 1e6:g} Mbit/s"


def is_ours(result: Result) -> bool:
    """Whether gnnflow ran it."""
    return result.cell.policy not in PEERS
