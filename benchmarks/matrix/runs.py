"""Runs one cell of the matrix and makes a line of what came out of it."""

import json
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks._commands import gnnflow_command, steps_of
from benchmarks._traces import traces_of_parts
from benchmarks.cluster_runs import (
    DISTDGL,
    STAGES,
    Run,
    Setting,
    run_gnnflow,
)
from benchmarks.emulated_hosts import EmulatedHosts
from benchmarks.fixed_schedules import FixedSchedule
from benchmarks.matrix.bounds import replay_bounds
from benchmarks.matrix.cells import CONTENDERS, PEERS, Cell, TrainedGraph
from benchmarks.peers.distdgl_job import convert, run_distdgl
from benchmarks.peers.pyg_job import PYG, run_pyg
from gnnflow.errors import GnnflowError
from gnnflow.partition import read_manifest
from gnnflow.policies.llm.model.model_files import SMALL_MODEL, locate_model
from gnnflow.policies.rivals import RIVALS

LAST_EPOCHS = 3
_SCHEDULE = ("fill", "period", "alpha")
PEER_NAMES = {DISTDGL: "dgl", PYG: "pyg"}
"""Peers of `benchmarks.peers`, by contender."""
_POLICY_FIGURES = (
    "decision_points",
    "decisions",
    "replacements",
    "valid_share",
    "stale_share",
    "failed_share",
    "busy_share",
    "latency_median_s",
    "latency_p95_s",
    "pass_at_1",
    *RIVALS,
)


class CellUnavailableError(Exception):
    """A cell that cannot run here, with the reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """What runs need besides the cell."""

    graphs: Mapping[str, TrainedGraph]
    work: Path
    """Folder of the parts, kept from run to run."""
    pythons: Mapping[str, Path | None]
    """Interpreters of peers, by contender; None for one that is not installed."""


def typical(of_epochs: Sequence[float]) -> float:
    """Median of the last epochs, in which caches are full and models have begun to answer."""
    return statistics.median(of_epochs[-LAST_EPOCHS:])


def parts_of(bench: Bench, graph: str, parts: int) -> Path:
    """Returns the folder of a graph's parts, made if it is not there.

    Raises:
        CellUnavailableError: If the graph is not to be had here.
    """
    folder = bench.work / f"{graph}-{parts}"
    if not folder.exists():
        bench.work.mkdir(parents=True, exist_ok=True)
        words = [*bench.graphs[graph].source, "--num-parts", str(parts), "--hosts", str(parts)]
        command = [*gnnflow_command("partition"), *words, "--out", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            said = done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"]
            raise CellUnavailableError(f"{graph}: {said[-1]}")
    return folder


def bounds_of(bench: Bench, graph: str, parts: int, budget: int) -> dict[str, Any]:
    """Replays the run's own minibatches; returns the line of what is best and what is possible."""
    hyper = bench.graphs[graph].workload.hyperparameters
    folder = parts_of(bench, graph, parts)
    manifest = read_manifest(folder)
    features = manifest.arrays["x"]
    about = {
        "vertices": manifest.num_vertices,
        "edges": manifest.num_edges,
        "features": f"{features.row_shape[0]} {features.dtype}",
        "train_seeds": sum(manifest.num_seeds("train")),
        "edge_cut": manifest.edge_cut,
    }
    traces = traces_of_parts(
        folder,
        fanout=hyper.fanout,
        batch_size=hyper.batch_size,
        num_epochs=hyper.epochs,
        seed=hyper.seed,
    )
    where = {"graph": graph, "parts": parts, "budget": budget}
    return {"kind": "replay", **where, **about, **replay_bounds(traces, budget)}


def check(bench: Bench, cell: Cell) -> None:
    """Says whether a cell can run.

    Raises:
        CellUnavailableError: If not.
    """
    if cell.policy in PEERS and bench.pythons[cell.policy] is None:
        command = f"python -m benchmarks.peers {PEER_NAMES[cell.policy]}"
        raise CellUnavailableError(f"{CONTENDERS[cell.policy].title}: `{command}` installs it")
    if cell.policy.startswith("llm"):
        try:
            locate_model(SMALL_MODEL)
        except GnnflowError as error:
            raise CellUnavailableError(f"language models: {error}") from None


def run_cell(
    bench: Bench,
    cell: Cell,
    hosts: EmulatedHosts | None,
    bounds: Mapping[str, Any] | None,
    *,
    threads: int,
    seed: int,
) -> dict[str, Any]:
    """Trains once and returns the line of the run.

    Args:
        bench: What runs need.
        cell: What to run.
        hosts: One for each part, or None for loopback.
        bounds: What `bounds_of` returned, for contenders with a cache.
        threads: Threads of each rank.
        seed: Of minibatches and weights.

    Raises:
        CellUnavailableError: If the cell cannot run here.
        EmulationError: If the run fails.
    """
    check(bench, cell)
    parts = parts_of(bench, cell.graph, cell.parts)
    workload = bench.graphs[cell.graph].workload.seeded(seed)
    python = bench.pythons.get(cell.policy)
    if cell.policy == DISTDGL:
        if hosts is None or python is None:
            raise CellUnavailableError("DistDGL runs on emulated hosts only")
        converted = bench.work / f"distdgl-{cell.graph}-{cell.parts}"
        if not converted.exists():
            convert(python, parts, converted, cell.parts)
        run = run_distdgl(hosts, python, parts, converted, workload, cell.parts, threads)
    elif cell.policy == PYG:
        assert python is not None
        run = run_pyg(python, parts, workload, cell.parts)
    else:
        setting = Setting(name=cell.policy, words=words_of(cell, bounds or {}))
        epochs = CONTENDERS[cell.policy].async_epochs if cell.mode == "async" else None
        run = run_gnnflow(
            hosts, setting, parts, workload, cell.parts, threads, epochs=epochs, look=_steps
        )
    return _line(cell, run, bounds or {}) | {"seed": seed}


def words_of(cell: Cell, bounds: Mapping[str, Any]) -> tuple[str, ...]:
    """The words that a cell adds to gnnflow-train's command line.

    Raises:
        CellUnavailableError: If it needs a classifier and there is none.
    """
    contender = CONTENDERS[cell.policy]
    words = list(contender.words)
    if contender.has_budget:
        words += ["--cache-fraction", str(cell.budget / 100)]
    if cell.mode:
        words += ["--policy-mode", cell.mode]
    if cell.policy == "static":
        schedule = {name: bounds[name] for name in _SCHEDULE}
        words += FixedSchedule(**schedule).words()
    if cell.policy == "classifier":
        if bounds["classifier"] is None:
            raise CellUnavailableError("no classifier that comes with gnnflow can be loaded here")
        words += ["--classifier", bounds["classifier"]]
    return tuple(words)


def _line(cell: Cell, run: Run, bounds: Mapping[str, Any]) -> dict[str, Any]:
    line: dict[str, Any] = {"kind": "run", **asdict(cell), "link": run.rate}
    line["epoch_time_s"] = [round(seconds, 4) for seconds in run.epoch_time_s]
    line["val_accuracy"], line["test_accuracy"] = run.val_accuracy, run.test_accuracy
    line["hyperparameters"] = run.hyperparameters.to_json()
    line["sent_bytes"] = run.sent_bytes
    details = run.details
    if cell.policy in PEERS:
        return line | _peer_figures(details["epochs"])
    for stage in STAGES:
        of_epochs = [epoch[f"{stage}_s"] for epoch in details["epochs"]]
        line[f"{stage}_s"] = round(typical(of_epochs), 4)
    for name in ("hit_rate", "volume_rows", "volume_bytes", "rows_without_cache"):
        line[name] = details[name]
    line["peak_memory_bytes"] = details["peak_memory_bytes"]
    if cell.policy == "static":
        line |= {name: bounds[name] for name in _SCHEDULE}
    if cell.policy == "classifier":
        line["classifier"] = bounds["classifier"]
    if details["policy"].get("decisions"):
        line["policy_figures"] = {name: details["policy"][name] for name in _POLICY_FIGURES}
    return line | {"steps": details["steps"]}


def _peer_figures(trainers: list[list[dict[str, float]]]) -> dict[str, Any]:
    """A peer's stages of an epoch and what it fetched; training has the all-reduce in it."""
    figures: dict[str, Any] = {}
    for ours, theirs in (("sample", "sample"), ("fetch", "fetch"), ("compute", "train")):
        of_epochs = [
            max(epoch[f"{theirs}_s"] for epoch in ranks) for ranks in zip(*trainers, strict=True)
        ]
        figures[f"{ours}_s"] = round(typical(of_epochs), 4)
    for ours, theirs in (("volume_rows", "remote_rows"), ("volume_bytes", "remote_bytes")):
        figures[ours] = int(sum(epoch[theirs] for trainer in trainers for epoch in trainer))
    return figures | {"hit_rate": 0.0, "rows_without_cache": figures["volume_rows"]}


def _steps(folder: Path) -> dict[str, Any]:
    """Hit rates of rank 0 by minibatch, and the minibatches at which it decided to replace."""
    lines = steps_of(folder)
    hit_rates = [round(line["hit_rate"] or 0.0, 3) for line in lines if line["rank"] == 0]
    replaced: list[int] = []
    kept: list[int] = []
    decisions = folder / "decisions-rank0.jsonl"
    if decisions.exists():
        for text in decisions.read_text().splitlines():
            answer = json.loads(text)
            if answer["status"] == "valid" and answer["decision"] is not None:
                chosen = replaced if answer["decision"]["replace"] else kept
                chosen.append(answer["minibatch"])
    return {"steps": {"hit_rate": hit_rates, "replaced": replaced, "kept": kept}}
