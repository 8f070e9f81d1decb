"""Runs the matrix: who decides about the cache, on several graphs, parts, budgets and links.

    python -m benchmarks.matrix [--runs FILE] [--only graph=sbm policy=none,static] [--minutes 4]

`cells.py` lists the cells. Each trains GraphSAGE with gnnflow-train, or with DistDGL, on emulated
hosts with one rank each; where namespaces are not allowed, gnnflow alone, over loopback, which
limits nothing. Repeats have seeds of their own, the same for all contenders. Every finished run is
a line of the file, so a matrix that was stopped goes on where it was; after changes to gnnflow
start a new file. Runs during which other programs were busy on 0.15 cores or more stay in the file,
do not count and are run again. `python -m benchmarks.results` makes docs/results.md of it.
"""

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from benchmarks._harness import parser_of
from benchmarks.emulated_hosts import EmulatedHosts, EmulationUnavailableError, emulated_hosts
from benchmarks.matrix.cells import (
    BLOCKS,
    GRAPHS,
    QUICK,
    QUICK_GRAPH,
    STEPS_OF,
    Block,
    Cell,
    TrainedGraph,
)
from benchmarks.matrix.load import OtherLoad, is_disturbed
from benchmarks.matrix.runs import (
    PEER_NAMES,
    Bench,
    CellUnavailableError,
    bounds_of,
    check,
    parts_of,
    run_cell,
)
from benchmarks.peers import peer_python
from gnnflow.datasets.readers.ogb import GRAPHS as OGB_GRAPHS
from gnnflow.errors import GnnflowError
from gnnflow.files.json_text import to_json_text

RUNS = Path("docs/results/matrix.jsonl")


@dataclass(frozen=True, kw_only=True, slots=True)
class MatrixPlan:
    """What to run, and for how long."""

    bench: Bench
    blocks: tuple[Block, ...]
    only: dict[str, tuple[str, ...]]
    repeats: int
    minutes: float


class RunsFile:
    """Lines of finished runs and of replays."""

    def __init__(self, path: Path) -> None:
        """Reads what is there."""
        self._path = path
        text = path.read_text() if path.exists() else ""
        self.lines: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]

    def of(self, cell: Cell) -> list[dict[str, Any]]:
        """Finished runs of a cell that other programs did not disturb."""
        return [line for line in self.lines if _counts(line) and Cell.of_line(line) == cell]

    def count(self, cell: Cell) -> int:
        """How many there are of them."""
        return len(self.of(cell))

    def next_seed(self, cell: Cell) -> int:
        """The seed of a cell's next run: another for each repeat, the same for all contenders."""
        used = {line.get("seed", 0) for line in self.of(cell)}
        return next(seed for seed in itertools.count() if seed not in used)

    def bounds(self, cell: Cell) -> dict[str, Any] | None:
        """What replays said for a cell, if they have been made."""
        for line in self.lines:
            where = (line["graph"], line["parts"], line["budget"])
            if line["kind"] == "replay" and where == (cell.graph, cell.parts, cell.budget):
                return line
        return None

    def add(self, line: dict[str, Any]) -> None:
        """Appends a line; a file that is there is complete up to its last line."""
        self.lines.append(line)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(to_json_text(line) + "\n")


def _counts(line: dict[str, Any]) -> bool:
    return line["kind"] == "run" and not is_disturbed(line)


def run_matrix(plan: MatrixPlan, runs: RunsFile) -> None:
    """Runs what is not finished, until the time is up."""
    end_s = time.monotonic() + 60 * plan.minutes
    absent: set[str] = set()
    for cell in unfinished(plan, runs):
        if time.monotonic() > end_s:
            print(f"{plan.minutes:g} minutes are over; the same command goes on from here")
            return
        try:
            line = _run(plan, runs, cell)
        except CellUnavailableError as reason:
            if str(reason) not in absent:
                absent.add(str(reason))
                print(f"left out: {reason}", flush=True)
            continue
        except GnnflowError as error:
            print(f"failed: {cell.name}: {error}", flush=True)
            continue
        runs.add(line)
        print(_describe(line), flush=True)


def unfinished(plan: MatrixPlan, runs: RunsFile) -> Iterator[Cell]:
    """Returns the cells to run, in order; the contenders of a block take turns."""
    for block in plan.blocks:
        cells = [cell for cell in block.cells() if _is_wanted(cell, plan.only)]
        for repeat in range(plan.repeats):
            yield from (cell for cell in cells if runs.count(cell) <= repeat)


def _is_wanted(cell: Cell, only: dict[str, tuple[str, ...]]) -> bool:
    return all(str(getattr(cell, name)) in values for name, values in only.items())


def _run(plan: MatrixPlan, runs: RunsFile, cell: Cell) -> dict[str, Any]:
    bench = plan.bench
    check(bench, cell)
    if cell.graph in OGB_GRAPHS and not _has_ogb(cell.graph):
        raise CellUnavailableError(f"{cell.graph} is not in the folder 'data'")
    parts_of(bench, cell.graph, cell.parts)
    bounds = runs.bounds(cell)
    if cell.budget and bounds is None:
        bounds = bounds_of(bench, cell.graph, cell.parts, cell.budget)
        runs.add(bounds)
    num_cores = len(os.sched_getaffinity(0))
    cores_of_host = num_cores // cell.parts or None
    with ExitStack() as stack:
        hosts: EmulatedHosts | None = None
        try:
            entered = emulated_hosts(cell.parts, rate=cell.rate, cpus_per_host=cores_of_host)
            hosts = stack.enter_context(entered)
        except EmulationUnavailableError as reason:
            print(f"over loopback, which limits nothing: {reason}", flush=True)
        load = OtherLoad()
        seed = runs.next_seed(cell)
        line = run_cell(bench, cell, hosts, bounds, threads=cores_of_host or 1, seed=seed)
        line["others_cores"] = round(load.cores, 3)
    steps = line.pop("steps", None)
    is_shown = all(line[name] == value for name, value in STEPS_OF.items())
    keeps = is_shown and not any("steps" in run for run in runs.of(cell))
    return line | ({"steps": steps} if keeps and steps else {})


def _has_ogb(name: str) -> bool:
    return (Path("data") / name.replace("-", "_")).is_dir()


def _describe(line: dict[str, Any]) -> str:
    cell = Cell.of_line(line)
    epochs = " ".join(f"{seconds:.2f}" for seconds in line["epoch_time_s"])
    volume = line["volume_rows"] / max(line["rows_without_cache"], 1)
    text = f"{cell.name}: epochs {epochs} s, volume {volume:.3f} of no cache"
    if is_disturbed(line):
        text += f"; does not count, others were busy on {line['others_cores']:.2f} cores"
    return text


def _only(words: Sequence[str]) -> dict[str, tuple[str, ...]]:
    names = [field.name for field in fields(Cell)]
    only = {}
    for word in words:
        name, _, values = word.partition("=")
        if name not in names or not values:
            sys.exit(f"--only takes {', '.join(names)} with '=' and values, got '{word}'")
        only[name] = tuple(values.split(","))
    return only


def _parse() -> tuple[argparse.Namespace, dict[str, tuple[str, ...]]]:
    parser = parser_of("benchmarks.matrix", __doc__)
    parser.add_argument("--quick", action="store_true", help="a slice, within a minute")
    parser.add_argument("--runs", type=Path, metavar="FILE", help=f"lines of runs ({RUNS})")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME=VALUE[,VALUE]")
    parser.add_argument("--minutes", type=float, default=1e6, help="start no run after these")
    parser.add_argument("--repeats", type=int, help="runs of each cell (2; 1 with --quick)")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="keep the parts there")
    parser.add_argument("--list", action="store_true", help="name unfinished cells, run none")
    given = parser.parse_args()
    return given, _only(given.only)


def _graphs(quick: bool) -> dict[str, TrainedGraph]:
    if not quick:
        return GRAPHS
    workload = QUICK_GRAPH.workload
    hyper = replace(workload.hyperparameters, epochs=3)
    return {"sbm": replace(QUICK_GRAPH, workload=replace(workload, hyperparameters=hyper))}


def main() -> None:
    """Runs the benchmark."""
    given, only = _parse()
    with tempfile.TemporaryDirectory(prefix="gnnflow-") as scratch:
        quick_runs = Path(scratch) / "quick.jsonl"
        plan = MatrixPlan(
            bench=Bench(
                graphs=_graphs(given.quick),
                work=given.work or Path(scratch),
                pythons={name: peer_python(peer) for name, peer in PEER_NAMES.items()},
            ),
            blocks=QUICK if given.quick else BLOCKS,
            only=only,
            repeats=given.repeats or (1 if given.quick else 2),
            minutes=given.minutes,
        )
        runs = RunsFile(given.runs or (quick_runs if given.quick else RUNS))
        if given.list:
            for cell in unfinished(plan, runs):
                print(cell.name)
        else:
            run_matrix(plan, runs)


if __name__ == "__main__":
    main()
