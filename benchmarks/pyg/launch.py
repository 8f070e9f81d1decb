"""Runs PyG's side and gathers what it measured."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from benchmarks._commands import option_words
from benchmarks.cluster_runs import UNLIMITED, Run, Workload
from benchmarks.distdgl.accuracy import exact_accuracy
from benchmarks.emulated_hosts import EmulationError
from gnnflow.config import OptimizationConfig
from gnnflow.partition import open_partition, read_manifest

PYG = "pyg"
_PROGRAM = Path(__file__).with_name("train.py")
_DROPOUT = 0.5


def run_pyg(python: Path, parts: Path, workload: Workload, num_ranks: int) -> Run:
    """Trains in one process on the whole graph.

    It has as many threads as the others have ranks, and a process beside them that samples; its
    minibatches are as large as those of all their ranks together.

    Args:
        python: The peer's interpreter.
        parts: Partition folder; the whole graph must fit into memory.
        workload: What is trained.
        num_ranks: Ranks of the others.

    Raises:
        EmulationError: If the training fails.
    """
    manifest = read_manifest(parts)
    partitions = [open_partition(parts, part) for part in range(manifest.num_parts)]
    degrees = np.concatenate([np.diff(partition.indptr) for partition in partitions])
    labels = np.concatenate([partition.arrays["y"] for partition in partitions])
    train = np.zeros(manifest.num_vertices, dtype=bool)
    for partition in partitions:
        train[partition.first_id + partition.splits["train"]] = True
    arrays = {
        "indptr": np.concatenate([[0], np.cumsum(degrees)]),
        "indices": np.concatenate([partition.indices for partition in partitions]).astype(np.int64),
        "x": np.concatenate([partition.arrays["x"] for partition in partitions]),
        "y": labels,
        "train": train,
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, array in arrays.items():
            np.save(Path(folder) / f"{name}.npy", array)
        del arrays
        options = {
            "out": folder,
            "fanout": ",".join(map(str, workload.fanout)),
            "batch-size": workload.batch_size * num_ranks,
            "hidden": workload.hidden,
            "classes": int(labels.max()) + 1,
            "epochs": workload.epochs,
            "threads": num_ranks,
            "workers": 1,
            "seed": workload.seed,
            "dropout": _DROPOUT,
            "lr": OptimizationConfig().lr,
        }
        done = subprocess.run(
            [str(python), "-W", "ignore", str(_PROGRAM), folder, *option_words(options)],
            env=os.environ | {"OMP_NUM_THREADS": str(options["threads"])},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode != 0:
            raise EmulationError(f"PyG ended with an error: {done.stderr[-2000:].strip()}")
        times = json.loads((Path(folder) / "times.json").read_text())
        accuracy = exact_accuracy(parts, Path(folder) / "weights.npz")
    return Run(
        contender=PYG,
        rate=UNLIMITED,
        epoch_time_s=tuple(epoch["epoch_time_s"] for epoch in times["epochs"]),
        test_accuracy=accuracy["test"],
        traffic={},
        details={"epochs": [times["epochs"]], "peak_memory_bytes": times["peak_memory_bytes"]},
    )
