"""Test accuracy on the embedded graph: four ranks, one process, and full-batch PyG.

    python -m benchmarks.accuracy [--quick] [--json FILE] [--threads 2]

All sides train the same two-layer GraphSAGE (256 hidden, dropout 0.5, Adam) for each of three
seeds. Four ranks and one process take the same job-wide minibatches of 2048 seeds with fanout
10,25 for 10 epochs, and are evaluated exactly over all neighbours after each; full-batch training
is plain PyG on the whole graph for 120 steps. Every side counts with the test accuracy at its best
validation accuracy. Accuracies agree if they differ by no more than the spread of the seeds.

`--quick` takes one seed and 2 epochs and leaves full-batch training out: it shows that ranks make
no difference, not how far training gets.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean

import torch
from torch_geometric.nn import GraphSAGE

from benchmarks import _commands as commands
from benchmarks._harness import Options, Report, Row, run_benchmark
from benchmarks.accuracy_reference import Tensors, train
from benchmarks.cluster_runs import Workload
from benchmarks.hyperparameters import HYPERPARAMETERS
from gnnflow.config import PartitionConfig
from gnnflow.datasets import RawGraph, load
from gnnflow.partition import partition_graph

NUM_RANKS = 4
JOB_BATCH_SIZE = 2048
HYPER = replace(HYPERPARAMETERS, fanout=(10, 25), hidden=256, epochs=10)
FULL_BATCH_STEPS = 120


class AccuracyRow(Row):
    """A comparison in which more is better."""

    @property
    def ratio(self) -> float:
        """Our accuracy over theirs."""
        return self.ours / self.theirs


@dataclass(frozen=True, slots=True)
class Accuracies:
    """Test accuracy of each seed at its best validation accuracy."""

    test: list[float]
    moved_bytes: list[float] = field(default_factory=list)
    """Bytes of rows between ranks, per epoch, of each seed."""

    @property
    def spread(self) -> float:
        """Difference between the best and the worst seed."""
        return max(self.test) - min(self.test)


def train_by_minibatches(
    folder: Path,
    num_ranks: int,
    seeds: range,
    epochs: int,
    threads: int,
    further_options: Mapping[str, str] | None = None,
) -> Accuracies:
    """Runs gnnflow-train once for each seed."""
    found, moved_bytes = [], []
    for seed in seeds:
        out = Path(tempfile.mkdtemp(prefix="run-", dir=folder))
        hyper = replace(HYPER, batch_size=JOB_BATCH_SIZE // num_ranks, epochs=epochs, seed=seed)
        options = {
            **Workload(graph="debian-packages", hyperparameters=hyper).options(),
            "ranks": num_ranks,
            "transport": "alltoall",
            "eval-every": 1,
            "threads": max(1, threads // num_ranks),
            **(further_options or {}),
        }
        summary = commands.train(folder / f"parts-{num_ranks}", out / "run", options)
        best = max(summary["epochs"], key=lambda epoch: epoch["val_accuracy"])
        found.append(best["test_accuracy"])
        moved_bytes.append(summary["volume_bytes"] / epochs)
    return Accuracies(found, moved_bytes)


def train_full_batch(graph: RawGraph, seeds: range) -> Accuracies:
    """Trains plain PyG on the whole graph once for each seed."""
    tensors = Tensors.of(graph)
    inputs, found = [tensors.x, tensors.adj_t], []
    for seed in seeds:
        torch.manual_seed(seed)
        model = GraphSAGE(
            graph.num_features,
            HYPER.hidden,
            len(HYPER.fanout),
            graph.num_classes,
            dropout=HYPER.dropout,
            act=HYPER.activation,
            aggr=HYPER.aggregation,
        )
        best = train(model, inputs, tensors.y, tensors.splits, FULL_BATCH_STEPS, HYPER)
        found.append(best[1])
    return Accuracies(found)


def compare(options: Options, report: Report) -> None:
    """Adds the rows."""
    torch.set_num_threads(options.threads)
    graph = load("debian-packages")
    seeds, epochs = (range(1), 2) if options.quick else (range(3), HYPER.epochs)
    with tempfile.TemporaryDirectory(prefix="gnnflow-") as made:
        folder = Path(made)
        for num_ranks in (1, NUM_RANKS):
            config = PartitionConfig(num_parts=num_ranks)
            partition_graph(graph, folder / f"parts-{num_ranks}", config)
        ours = train_by_minibatches(folder, NUM_RANKS, seeds, epochs, options.threads)
        others = {
            "one process": train_by_minibatches(folder, 1, seeds, epochs, options.threads),
        }
    if options.quick:
        report.absent("full-batch PyG", "it takes more than a minute")
    else:
        others["full-batch PyG"] = train_full_batch(graph, seeds)
    for name, theirs in others.items():
        report.add(
            AccuracyRow(
                name=f"accuracy/{NUM_RANKS} ranks",
                ours=mean(ours.test),
                theirs=mean(theirs.test),
                unit="accuracy",
                against=name,
                facts={"our_spread": ours.spread, "their_spread": theirs.spread},
            )
        )


if __name__ == "__main__":
    run_benchmark("benchmarks.accuracy", __doc__, "Test accuracy on debian-packages", compare)
