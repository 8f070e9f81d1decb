"""gnnflow-train and the example on several ranks, started in every way."""

import json
import os
import subprocess
import sys

import pytest
from ranks import ROOT, run_ranks
from small_graphs import power_law, tiny

from gnnflow.config import PartitionConfig
from gnnflow.partition import partition_graph
from gnnflow.replay.optimum import Optimum

OPTIONS = ["--fanout", "3,2", "--hidden", "8", "--epochs", "2", "--threads", "1"]
COMMAND = ["-m", "gnnflow.cli.train"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("command")
    for name, graph, num_parts in (("two", power_law(), 2), ("tiny", tiny(), 4)):
        config = PartitionConfig(num_parts=num_parts, method="random")
        partition_graph(graph, folder / name, config)
    return folder


def run_alone(*words, cwd):
    """Runs the command as a user does, without a launcher."""
    return subprocess.run(
        [sys.executable, *COMMAND, *map(str, words), *OPTIONS],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_the_command_starts_its_ranks(folder, tmp_path):
    words = ["--ranks", "2", "--transport", "alltoall", "--out", "here", "--log-level", "info"]
    ended = run_alone(folder / "two", *words, cwd=tmp_path)
    assert ended.returncode == 0
    for rank in range(2):
        assert f"INFO rank {rank} gnnflow.training.run: part {rank} of small" in ended.stderr
    assert "Traceback" not in ended.stderr and "WARNING" not in ended.stderr
    assert ended.stdout.count("epoch 1/2") == 1
    assert "sage on small, 2 ranks" in ended.stdout
    summary = json.loads((tmp_path / "here" / "summary.json").read_text())
    assert summary["num_ranks"] == 2
    assert 0 < summary["hit_rate"] < 1
    hits = summary["rows_without_cache"] - summary["volume_rows"]
    assert hits == round(summary["hit_rate"] * summary["rows_without_cache"]) > 0
    assert summary["volume_bytes"] == summary["volume_rows"] * 7 * 4
    assert summary["halo_hops"] == 0 and summary["topology_bytes"] > 0
    # Each minibatch asks for its second hop; the seeds of the first are the rank's own.
    assert summary["sample_bytes"] > 0
    lines = (tmp_path / "here" / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line) for line in lines]
    assert {step["rank"] for step in steps} == {0, 1}
    assert sum(step["rows_fetched"] for step in steps) == summary["volume_rows"]
    assert sum(step["sample_exchanges"] for step in steps) == summary["sample_exchanges"]
    assert all(step["sample_exchanges"] == (step["num_seeds"] > 0) for step in steps)
    assert sum(step["num_seeds"] for step in steps) == 2 * len(power_law().splits["train"])
    least = summary["rows_without_cache"] - sum(Optimum.read(tmp_path / "here").hits)
    assert 0 < least <= summary["volume_rows"]
    assert "Belady" in (tmp_path / "here" / "report.html").read_text()


def test_a_launcher_starts_the_ranks(folder, tmp_path):
    """Four ranks, one train seed."""
    words = [folder / "tiny", "--ranks", "4", "--out", tmp_path / "here", *OPTIONS]
    ended = run_ranks(4, [*COMMAND, *map(str, words)], limit_s=240)
    assert (ended.returncode, ended.stderr) == (0, "")
    summary = json.loads((tmp_path / "here" / "summary.json").read_text())
    assert summary["num_ranks"] == 4
    assert all(epoch["loss"] > 0 for epoch in summary["epochs"])


def test_wrong_number_of_ranks(folder, tmp_path):
    ended = run_alone(folder / "two", "--ranks", "3", cwd=tmp_path)
    assert ended.returncode == 1
    assert "has 2 parts but the job has 3 ranks; use --ranks 2" in ended.stderr
    words = [*COMMAND, str(folder / "tiny"), *OPTIONS]
    ended = run_ranks(2, words)
    assert ended.returncode != 0
    assert ended.stderr.count("has 4 parts but the job has 2 ranks") == 1
    ended = run_ranks(2, [*words, "--ranks", "4"])
    assert ended.returncode != 0
    assert "ranks is 4 but MPICH's mpiexec started 2" in ended.stderr
    assert not list(tmp_path.iterdir())


def test_an_error_on_one_rank_ends_all(folder, tmp_path):
    """Rank 0 alone finds the run folder taken."""
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "summary.json").touch()
    ended = run_alone(folder / "two", "--ranks", "2", "--out", "taken", cwd=tmp_path)
    assert ended.returncode != 0
    assert ended.stderr.count("the run folder taken exists and is not empty") == 1
    assert "Traceback" not in ended.stderr


def test_example(folder, tmp_path):
    example = str(ROOT / "examples" / "node_classification.py")
    words = [example, str(folder / "two"), "--checkpoints", str(tmp_path / "saved"), "--epochs"]
    for epochs in (1, 2):
        ended = run_ranks(2, [*words, str(epochs)], limit_s=240)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert [line[:8] for line in ended.stdout.splitlines()] == [f"epoch {epochs}:"]
