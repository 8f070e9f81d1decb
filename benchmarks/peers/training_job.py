"""What peers are told to train on a workload, and what came of it."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import sparse

from benchmarks._commands import option_words
from benchmarks.cluster_runs import Run
from benchmarks.emulated_hosts import EmulationError, Traffic
from benchmarks.hyperparameters import Hyperparameters
from gnnflow.partition import open_partition, read_manifest

FloatArray = npt.NDArray[np.float32]


def hand_over(
    hyperparameters: Hyperparameters, parts: Path, out: Path, *, threads: int, ranks: int = 1
) -> list[str]:
    """Writes what a peer trains with; returns the words with which its trainer reads the rest.

    Args:
        hyperparameters: The same as ours.
        parts: Partition folder.
        out: Folder of the run.
        threads: Threads of the trainer.
        ranks: Ranks of the others whose minibatches are one for the trainer.
    """
    hyperparameters.write(out)
    classes = read_manifest(parts).num_classes
    return [str(out), *option_words({"classes": classes, "threads": threads, "ranks": ranks})]


def gather_run(
    contender: str,
    rate: str,
    parts: Path,
    out: Path,
    hyperparameters: Hyperparameters,
    traffic: dict[str, Traffic],
) -> Run:
    """Reads what trainers wrote to a folder, and evaluates their weights over all neighbours.

    Raises:
        EmulationError: If a trainer had other hyperparameters.
    """
    files = sorted(out.glob("trainer-*.json"), key=lambda file: int(file.stem.split("-")[1]))
    trainers = [json.loads(file.read_text()) for file in files]
    for trainer in trainers:
        if Hyperparameters.of_json(trainer["hyperparameters"]) != hyperparameters:
            raise EmulationError(
                f"{contender} trained with {trainer['hyperparameters']}, not {hyperparameters}"
            )
    epochs = [trainer["epochs"] for trainer in trainers]
    accuracy = exact_accuracy(parts, out / "weights.npz")
    return Run(
        contender=contender,
        rate=rate,
        epoch_time_s=tuple(
            max(trainer["epoch_time_s"] for trainer in of_one)
            for of_one in zip(*epochs, strict=True)
        ),
        hyperparameters=hyperparameters,
        val_accuracy=accuracy.get("val"),
        test_accuracy=accuracy.get("test"),
        traffic=traffic,
        details={
            "epochs": epochs,
            # A server of DistDGL's is not counted.
            "peak_memory_bytes": max(trainer["peak_memory_bytes"] for trainer in trainers),
        },
    )


def exact_accuracy(parts: Path, weights_file: Path) -> dict[str, float]:
    """Applies trained layers to the whole graph, without sampling or dropout.

    Args:
        parts: Partition folder; the whole graph must fit into memory.
        weights_file: `.npz` with `layers.N.fc_self.weight`, `layers.N.fc_self.bias` and
            `layers.N.fc_neigh.weight`, as DGL's SAGEConv names them.

    Returns:
        Share of seeds whose best class is their label, by split that has seeds.
    """
    partitions = [open_partition(parts, part) for part in range(read_manifest(parts).num_parts)]
    rows = np.concatenate([partition.arrays["x"] for partition in partitions])
    labels = np.concatenate([partition.arrays["y"] for partition in partitions])
    mean = _mean_of_neighbours(
        np.concatenate([np.diff(partition.indptr) for partition in partitions]),
        np.concatenate([partition.indices for partition in partitions]),
    )
    with np.load(weights_file, allow_pickle=False) as weights:
        layers = _layers(dict(weights))
    for number, (own, neighbours, bias) in enumerate(layers):
        rows = rows @ own.T + (mean @ rows) @ neighbours.T + bias
        if number < len(layers) - 1:
            rows = np.maximum(rows, 0)
    correct = rows.argmax(axis=1) == labels
    accuracy = {}
    for split in partitions[0].splits:
        seeds = [partition.first_id + partition.splits[split] for partition in partitions]
        if any(map(len, seeds)):
            accuracy[split] = float(correct[np.concatenate(seeds)].mean())
    return accuracy


def _mean_of_neighbours(
    degrees: npt.NDArray[np.int64], indices: npt.NDArray[np.int64]
) -> sparse.csr_array:
    indptr = np.concatenate([[0], np.cumsum(degrees)])
    values = np.repeat(1 / np.maximum(degrees, 1).astype(np.float32), degrees)
    return sparse.csr_array((values, indices, indptr), shape=(len(degrees), len(degrees)))


def _layers(
    weights: dict[str, FloatArray],
) -> list[tuple[FloatArray, FloatArray, FloatArray]]:
    num_layers = 1 + max(int(name.split(".")[1]) for name in weights)
    return [
        (
            weights[f"layers.{layer}.fc_self.weight"],
            weights[f"layers.{layer}.fc_neigh.weight"],
            weights[f"layers.{layer}.fc_self.bias"],
        )
        for layer in range(num_layers)
    ]
