"""The examples, as users start them, on small graphs."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from ranks import ROOT, run_ranks

from gnnflow.config import PartitionConfig
from gnnflow.datasets import generate
from gnnflow.partition import partition_graph


@pytest.fixture
def partitioned(tmp_path):
    """Makes parts of a small graph with communities."""

    def make(num_parts, **options):
        graph = generate("sbm:vertices=400,edges=6000", seed=0, workdir=tmp_path)
        folder = tmp_path / f"parts{num_parts}"
        partition_graph(graph, folder, PartitionConfig(num_parts=num_parts, **options))
        return str(folder)

    return make


def test_link_prediction_on_two_ranks(partitioned):
    parts = partitioned(2, val_edges=0.1, test_edges=0.1)
    program = str(ROOT / "examples" / "link_prediction.py")
    ended = run_ranks(2, [program, parts, "--epochs", "3", "--batch-size", "256"])
    assert (ended.returncode, ended.stderr) == (0, "")
    *epochs, last = ended.stdout.splitlines()
    values = [float(re.fullmatch(r"epoch \d: val MRR (0\.\d+)", line)[1]) for line in epochs]
    found = {name: float(value) for name, value in re.findall(r"test (\S+) (\d\.\d+)", last)}
    assert list(found) == ["mrr", "hits@1", "hits@10", "hits@50"]
    # A random order has a mean reciprocal rank of 0.051 and 50 of 101 among the best 50.
    assert values[-1] > 0.1 and found["mrr"] > 0.1 and found["hits@50"] > 0.75


def run_alone(module, *words, cwd):
    """Runs a command as a user does, without a launcher."""
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, words)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_inference_after_training(partitioned, tmp_path):
    """From a run to predictions whose accuracy is that of the run, by command and by program."""
    parts = partitioned(2)
    words = [parts, "--ranks", "2", "--fanout", "4,4", "--hidden", "16", "--epochs", "2"]
    words += ["--checkpoint-dir", "checkpoints", "--out", "run"]
    ended = run_alone("gnnflow.cli.train", *words, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    last = sorted((tmp_path / "checkpoints").glob("epoch-*"))[-1]

    ended = run_alone("gnnflow.cli.infer", parts, last, "--ranks", "2", cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "inference/inference.json\n"
    predictions = np.load(tmp_path / "inference" / "predictions.npy")
    graph = generate("sbm:vertices=400,edges=6000", seed=0, workdir=tmp_path)
    right = predictions == graph.arrays["y"].rows(np.arange(400))
    accuracy = right[graph.splits["test"]].mean()
    assert accuracy == pytest.approx(summary["test_accuracy"], abs=0.011)
    assert np.load(tmp_path / "inference" / "embeddings.npy").shape == (400, 16)

    np.save(tmp_path / "ids.npy", np.array([7, 400]))
    words = [parts, "checkpoints", "--ranks", "2", "--vertices", "ids.npy", "--out", "other"]
    ended = run_alone("gnnflow.cli.infer", *words, cwd=tmp_path)
    assert ended.returncode != 0 and ended.stderr.count("in [0, 400), got 7 to 400") == 1
    assert "Traceback" not in ended.stderr and not (tmp_path / "other").exists()

    program = str(ROOT / "examples" / "inference.py")
    out = str(tmp_path / "by-program")
    ended = run_ranks(2, [program, parts, str(last), "--out", out])
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.search(r"400 vertices, most of class \d+\nmost like vertex 0: \[", ended.stdout)
    again = np.load(tmp_path / "by-program" / "predictions.npy")
    assert np.array_equal(again, predictions)
