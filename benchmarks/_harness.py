"""What the benchmarks share: options, taking turns, and rows in a table and a file."""

import argparse
import math
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from gnnflow.errors import GnnflowError
from gnnflow.files.json_text import to_json_text
from gnnflow.files.whole_file import write_whole
from gnnflow.terminal import PlainConsole, Table


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What the command line asks for."""

    quick: bool
    """Whether to end within a minute on two cores."""
    json: Path | None
    """Where the rows go."""
    threads: int
    """Threads of either side."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One comparison."""

    name: str
    ours: float
    theirs: float
    unit: str
    """Ends in "/s" where more is better."""
    against: str
    facts: Mapping[str, float | str] = field(default_factory=dict)
    """What else to know about this row; goes to the file and below the table."""
    notes: Mapping[str, float | str] = field(default_factory=dict)
    """What else goes to the file, and only there."""

    @property
    def ratio(self) -> float:
        """How many times better ours is."""
        more_is_better = self.unit.endswith("/s")
        return over(self.ours, self.theirs) if more_is_better else over(self.theirs, self.ours)

    def to_json(self) -> dict[str, float | str | None]:
        """Returns the row as it is written to the file; null where there is no ratio."""
        return {
            "name": self.name,
            "ours": self.ours,
            "theirs": self.theirs,
            "unit": self.unit,
            "against": self.against,
            "ratio": self.ratio if math.isfinite(self.ratio) else None,
            **self.facts,
            **self.notes,
        }


def over(value: float, other: float) -> float:
    """Returns a ratio; of nothing to nothing 1, of something to nothing infinity."""
    if other:
        return value / other
    return math.inf if value else 1.0


class Report:
    """Collects rows and what could not be compared; prints and writes them at the end."""

    def __init__(self, title: str, options: Options) -> None:
        """Begins a report.

        Args:
            title: Heads the table.
            options: What the command line asked for.
        """
        self._title = title
        self._options = options
        self._rows: list[Row] = []
        self._absent: dict[str, str] = {}
        self._console = PlainConsole()

    def add(self, row: Row) -> None:
        """Adds a comparison."""
        self._rows.append(row)

    def absent(self, peer: str, reason: str) -> None:
        """Says that a peer is not compared with, and why."""
        self._absent[peer] = reason

    def say(self, text: str) -> None:
        """Prints a line between the tables."""
        self._console.print(text, highlight=False)

    def finish(self) -> None:
        """Prints the table and writes the file."""
        table = Table(title=self._title, title_justify="left")
        for column in ("name", "ours", "theirs", "unit", "against", "ratio"):
            is_text = column in ("name", "against")
            table.add_column(column, justify="left" if is_text else "right", overflow="fold")
        for row in self._rows:
            table.add_row(
                row.name,
                f"{row.ours:.4g}",
                f"{row.theirs:.4g}",
                row.unit,
                row.against,
                f"{row.ratio:.2f}",
            )
        self._console.print(table)
        for row in self._rows:
            for name, value in row.facts.items():
                text = f"{value:,.4g}" if isinstance(value, float) else value
                self.say(f"{row.name}, {row.against}: {name.replace('_', ' ')} {text}")
        for peer, reason in self._absent.items():
            self.say(f"Not compared with {peer}: {reason}")
        write_json(self._options.json, [row.to_json() for row in self._rows])


def run_benchmark(
    module: str,
    description: str | None,
    title: str,
    compare: Callable[[Options, Report], None],
) -> None:
    """Reads the command line, compares, and finishes the report.

    What could be compared is shown also if something fails; the line of the error comes last.

    Args:
        module: Name after `python -m`.
        description: Shown by `--help`.
        title: Heads the table.
        compare: Adds the rows.
    """
    parser = parser_of(module, description)
    parser.add_argument("--quick", action="store_true", help="end within a minute on two cores")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file")
    parser.add_argument("--threads", type=int, default=2, help="threads of either side (2)")
    given = parser.parse_args()
    options = Options(quick=given.quick, json=given.json, threads=given.threads)
    report = Report(f"{title}, {options.threads} threads", options)
    try:
        compare(options, report)
    except GnnflowError as error:
        report.finish()
        sys.exit(f"{module}: {error}")
    report.finish()


def parser_of(module: str, description: str | None) -> argparse.ArgumentParser:
    """Returns a parser that shows the documentation of a module as it is written."""
    return argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def write_json(path: Path | None, value: object, indent: int = 2) -> None:
    """Writes what was found, if there is a file to write to."""
    if path is not None:
        write_whole(path, to_json_text(value, indent=indent) + "\n")


def take_turns(
    sides: Mapping[str, Callable[[], float]], *, rounds: int, limit_s: float
) -> dict[str, float]:
    """Measures sides in turn, so that a load that comes and goes meets all of them.

    The first round is not counted.

    Args:
        sides: By name, what measures a side once: a rate or a time.
        rounds: Rounds that count.
        limit_s: After this many seconds no further round begins, once one has counted.

    Returns:
        The median of each side.
    """
    measured: dict[str, list[float]] = {name: [] for name in sides}
    begin = perf_counter()
    for number in range(rounds + 1):
        if number > 1 and perf_counter() - begin > limit_s:
            break
        for name, measure in sides.items():
            value = measure()
            if number > 0:
                measured[name].append(value)
    return {name: statistics.median(values) for name, values in measured.items()}


def time_of(action: Callable[[], object]) -> float:
    """Returns how many seconds an action takes."""
    begin = perf_counter()
    action()
    return perf_counter() - begin
