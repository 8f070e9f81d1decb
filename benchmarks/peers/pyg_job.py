"""Runs PyG's side and gathers what it measured."""

import subprocess
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.cluster_runs import UNLIMITED, Run, Workload
from benchmarks.emulated_hosts import EmulationError
from benchmarks.peers import peer_environment
from benchmarks.peers.training_job import gather_run, hand_over
from gnnflow.partition import open_partition, read_manifest

PYG = "pyg"


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
    train = np.zeros(manifest.num_vertices, dtype=bool)
    for partition in partitions:
        train[partition.first_id + partition.splits["train"]] = True
    arrays = {
        "indptr": np.concatenate([[0], np.cumsum(degrees)]),
        "indices": np.concatenate([partition.indices for partition in partitions]).astype(np.int64),
        "x": np.concatenate([partition.arrays["x"] for partition in partitions]),
        "y": np.concatenate([partition.arrays["y"] for partition in partitions]),
        "train": train,
    }
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        for name, array in arrays.items():
            np.save(out / f"{name}.npy", array)
        del arrays
        words = hand_over(workload.hyperparameters, parts, out, threads=num_ranks, ranks=num_ranks)
        done = subprocess.run(
            [python, "-W", "ignore", "-m", "benchmarks.peers.pyg_trainer", *words],
            env=peer_environment() | {"OMP_NUM_THREADS": str(num_ranks)},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode != 0:
            raise EmulationError(f"PyG ended with an error: {done.stderr[-2000:].strip()}")
        return gather_run(PYG, UNLIMITED, parts, out, workload.hyperparameters, {})
