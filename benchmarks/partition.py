"""Time, memory and cut of partitioning, against the METIS call alone.

    python -m benchmarks.partition [--quick] [--json FILE]

A generated graph (R-MAT, a million vertices, 10 million edges, 100 features; with --quick 200 000
and 2 million) lies in .npy files. Ours is everything: reading, checking, cutting, sorting edges,
writing the parts with their hashes. Theirs is `METIS_PartGraphKway` alone, given the adjacency in
memory. The goals, for the large graphs: at most 1.5 times the time of METIS alone (a ratio of at
least 0.67), and at most 2.5 times the size of the input in memory. A second graph has communities
that a partitioner can find (SBM); `ldg` and, where it is installed, `mtkahypar` are compared with
`metis` on both.

Memory is the largest sum of the proportional set sizes of all processes, looked at ten times a
second: pages of the input files that are mapped count.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._harness import Options, Report, Row, run_benchmark
from benchmarks._partition_side import SPLITS
from gnnflow.datasets import generate

GRAPHS = ("rmat", "sbm")
NUM_FEATURES = 100
ROUNDS = 2
_LOOK_EVERY_S = 0.1
_CHUNK_ROWS = 1 << 16


def write_graph(spec: str, folder: Path) -> int:
    """Makes a graph as the generator's spec says, writes it to files; returns their bytes."""
    folder.mkdir()
    graph = generate(spec, seed=0)
    np.save(folder / "edges.npy", graph.edges)
    for name, source in graph.arrays.items():
        file = folder / f"{name}.npy"
        mapped = np.lib.format.open_memmap(file, "w+", source.dtype, source.shape)
        for start in range(0, graph.num_vertices, _CHUNK_ROWS):
            stop = min(graph.num_vertices, start + _CHUNK_ROWS)
            mapped[start:stop] = source.rows(np.arange(start, stop))
    for name in SPLITS:
        np.save(folder / f"{name}.npy", graph.splits[name])
    return sum(file.stat().st_size for file in folder.iterdir())


def proportional_bytes(process: int) -> int:
    """Proportional set size of a process and all below it."""
    total = 0
    try:
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        total += next(
            int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:")
        )
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                total += proportional_bytes(int(child))
    except (OSError, StopIteration):
        # The process ended while it was looked at.
        return total
    return total


def measure(graph: Path, method: str, out: Path) -> dict[str, Any]:
    """Runs one side in a process of its own and watches its memory."""
    command = [sys.executable, "-m", "benchmarks._partition_side", str(graph), method, str(out)]
    peak_bytes = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        while running.poll() is None:
            peak_bytes = max(peak_bytes, proportional_bytes(running.pid))
            time.sleep(_LOOK_EVERY_S)
        assert running.stdout is not None
        said = running.stdout.read()
    if running.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {running.returncode}")
    shutil.rmtree(out)
    return {"peak_bytes": peak_bytes} | json.loads(said)


def compare_methods(kind: str, graph: Path, input_bytes: int, rounds: int, report: Report) -> None:
    """Measures all sides in turn and adds their rows."""
    sides = ["metis-alone", "metis", "ldg"]
    if find_spec("mtkahypar") is None:
        report.absent("mtkahypar", "pip install 'gnnflow[mtkahypar]' brings it")
    else:
        sides.append("mtkahypar")
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            runs[side].append(measure(graph, side, graph.with_name("out")))

    def middle(side: str, key: str) -> float:
        return statistics.median(run[key] for run in runs[side])

    metis = runs["metis"][0]
    alone_s, total_s = middle("metis-alone", "metis_s"), middle("metis", "total_s")
    report.add(
        Row(
            name=f"partition/{kind}/time",
            ours=total_s,
            theirs=alone_s,
            unit="s",
            against="METIS alone",
            facts={
                "times METIS alone (goal: at most 1.5)": total_s / alone_s,
                "METIS inside s": middle("metis", "metis_s"),
                "edge cut": metis["edge_cut"],
                "largest part over mean": metis["balance"],
                **{f"{stage} s": seconds for stage, seconds in metis["stage_s"].items()},
            },
        )
    )
    peak_bytes = max(run["peak_bytes"] for run in runs["metis"])
    report.add(
        Row(
            name=f"partition/{kind}/memory",
            ours=peak_bytes / 2**20,
            theirs=middle("metis-alone", "peak_memory_bytes") / 2**20,
            unit="MiB",
            against="METIS alone",
            facts={
                "input MiB": input_bytes / 2**20,
                "times the input (goal: at most 2.5)": peak_bytes / input_bytes,
            },
        )
    )
    for method in sides[2:]:
        other = runs[method][0]
        other_bytes = max(run["peak_bytes"] for run in runs[method])
        for name, ours, theirs, unit in (
            ("time", middle(method, "total_s"), total_s, "s"),
            ("memory", other_bytes / 2**20, peak_bytes / 2**20, "MiB"),
            ("cut", other["edge_cut"], metis["edge_cut"], "cut"),
        ):
            report.add(
                Row(
                    name=f"partition/{kind}/{method}-{name}",
                    ours=ours,
                    theirs=theirs,
                    unit=unit,
                    against="--method metis",
                    facts={"largest part over mean": other["balance"]} if name == "cut" else {},
                )
            )


def compare(options: Options, report: Report) -> None:
    """Adds the rows of both graphs."""
    size = "vertices=2e5,edges=2e6" if options.quick else "vertices=1e6,edges=1e7"
    with tempfile.TemporaryDirectory(prefix="gnnflow-partition-") as folder:
        for kind in GRAPHS:
            graph = Path(folder) / kind
            input_bytes = write_graph(f"{kind}:{size},features={NUM_FEATURES}", graph)
            compare_methods(kind, graph, input_bytes, 1 if options.quick else ROUNDS, report)


if __name__ == "__main__":
    run_benchmark("benchmarks.partition", __doc__, "Partitioning", compare)
