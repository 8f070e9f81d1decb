"""Epoch time with more ranks than cores, against the same work with as many ranks as cores.

    python -m benchmarks.oversubscription [--quick] [--json FILE]

Two ranks, then four and eight, take turns on two cores with the same graph (communities, 100 k
vertices, 1 M edges, 128 features), cut into as many parts, and the same job-wide minibatches of
2048 seeds. More ranks on the same cores are no faster; what they lose shows what waiting ranks
take from working ones, and the traffic between more parts. A row is named by ranks and transport;
`ours` is the time of an epoch with more ranks, and a ratio of 0.77 means 1.3 times as long. Smaller
minibatches share fewer vertices, so more ranks have more to do for the same seeds: rows that end in
`/vertex` set the times of a sampled vertex against each other, which is the same work.

`--quick` compares two and four ranks, on a smaller graph. Epochs have about 15 (30) steps: in
shorter ones most of the time is what a rank waits for its first minibatch.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import _commands as commands
from benchmarks._harness import Options, Report, Row, over, run_benchmark
from gnnflow.comm.context import available_cores
from gnnflow.config import PartitionConfig
from gnnflow.datasets import generate
from gnnflow.partition import partition_graph

JOB_BATCH_SIZE = 2048
SEED = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class CrowdPlan:
    """What is run."""

    graph: str
    """What is generated."""
    epochs: int
    """The first of them does not count."""
    times_cores: tuple[int, ...]
    """Ranks for each core."""
    transports: tuple[str, ...]


FULL = CrowdPlan(
    graph="sbm:vertices=100000,edges=1000000,classes=16,features=128,train=0.6",
    epochs=6,
    times_cores=(2, 4),
    transports=("shared", "alltoall"),
)
QUICK = CrowdPlan(
    graph="sbm:vertices=40000,edges=400000,classes=16,features=128,train=0.8",
    epochs=4,
    times_cores=(2,),
    transports=("shared", "alltoall"),
)


def run(parts: Path, num_ranks: int, transport: str, epochs: int) -> dict[str, Any]:
    """Trains once; returns the summary, with the vertices sampled in an epoch."""
    with tempfile.TemporaryDirectory(prefix="gnnflow-") as out:
        options = {
            "ranks": num_ranks,
            "transport": transport,
            "batch-size": JOB_BATCH_SIZE // num_ranks,
            "epochs": epochs,
            "eval-every": 0,
            "fanout": "10,10",
            "hidden": 128,
        }
        summary = commands.train(parts, Path(out) / "run", options)
        steps = commands.steps_of(Path(out) / "run")
        summary["num_vertices"] = sum(step["num_vertices"] for step in steps) / epochs
    return summary


def epoch_time_s(summary: dict[str, Any]) -> float:
    """Returns the median time of an epoch, without the first, which pays for first touches."""
    return median(epoch["epoch_time_s"] for epoch in summary["epochs"][1:] or summary["epochs"])


def compare(options: Options, report: Report) -> None:
    """Adds a row for each number of ranks and transport."""
    plan = QUICK if options.quick else FULL
    num_cores = max(2, len(available_cores()))
    rank_counts = [num_cores, *(times * num_cores for times in plan.times_cores)]
    with tempfile.TemporaryDirectory(prefix="gnnflow-") as made:
        folder = Path(made)
        graph = generate(plan.graph, seed=SEED, workdir=folder)
        for num_ranks in rank_counts:
            partition_graph(graph, folder / f"{num_ranks}", PartitionConfig(num_parts=num_ranks))
        for transport in plan.transports:
            summaries = {
                num_ranks: run(folder / f"{num_ranks}", num_ranks, transport, plan.epochs)
                for num_ranks in rank_counts
            }
            fewest = summaries[num_cores]
            for num_ranks in rank_counts[1:]:
                summary = summaries[num_ranks]
                against = f"{num_cores} ranks on {num_cores} cores"
                report.add(
                    Row(
                        name=f"oversubscription/{num_ranks} {transport}/vertex",
                        ours=1e6 * over(epoch_time_s(summary), summary["num_vertices"]),
                        theirs=1e6 * over(epoch_time_s(fewest), fewest["num_vertices"]),
                        unit="us",
                        against=against,
                    )
                )
                report.add(
                    Row(
                        name=f"oversubscription/{num_ranks} {transport}",
                        ours=epoch_time_s(summary),
                        theirs=epoch_time_s(fewest),
                        unit="s",
                        against=against,
                        facts={
                            "rows_moved": float(summary["volume_rows"]),
                            "rows_moved_with_fewer_ranks": float(fewest["volume_rows"]),
                        },
                    )
                )


if __name__ == "__main__":
    run_benchmark(
        "benchmarks.oversubscription",
        __doc__,
        "Seconds per epoch with more ranks than cores",
        compare,
    )
