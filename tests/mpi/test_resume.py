"""Runs that are killed and go on, as real processes: what they compute is what one run computes."""

import contextlib
import json
import os
import random
import sys
import time

import psutil
import pytest
from ranks import ENVIRONMENT, end_program, start_program
from small_graphs import weighted_power_law

from gnnflow.config import PartitionConfig
from gnnflow.partition import partition_graph
from gnnflow.training.checkpoints.checkpoint_files import checkpoint_folders

NUM_EPOCHS, STEPS = 5, 10
OPTIONS = ["--fanout", "3,2", "--hidden", "8", "--epochs", str(NUM_EPOCHS), "--threads", "1"]
OPTIONS += ["--transport", "alltoall", "--schedule", "step", "--lr-patience", "2"]
OPTIONS += ["--warmup-steps", "12", "--class-weights", "balanced"]
# What a step computes; how long it took and what was in the cache may differ.
COMPUTED = ("epoch", "step", "rank", "loss", "weight", "num_seeds", "num_vertices", "num_edges")


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    for num_parts in (1, 2, 4):
        config = PartitionConfig(num_parts=num_parts, method="random")
        partition_graph(weighted_power_law(), folder / str(num_parts), config)
    return folder


@contextlib.contextmanager
def started(parts, num_ranks, *words):
    """Starts the command as a user does; 200 train seeds in 10 steps."""
    batch_size = 200 // (num_ranks * STEPS)
    further = ["--draw", "dependent", "--draw-every", 4] if num_ranks > 1 else []
    if num_ranks == 4:
        further += ["--first-hop", "stored", "--gradient-dtype", "bfloat16"]
    options = [*OPTIONS, *further, "--ranks", num_ranks, "--batch-size", batch_size, *words]
    command = [sys.executable, "-m", "gnnflow.cli.train", parts / str(num_ranks), *options]
    process = start_program([str(word) for word in command], os.environ | ENVIRONMENT)
    try:
        yield process
    finally:
        end_program(process)


def output_of(process):
    stdout, stderr = process.communicate(timeout=240)
    assert (process.returncode, stderr) == (0, "")
    return stdout


def run(*words):
    with started(*words) as process:
        return output_of(process)


def kill_at(process, folder, num_steps):
    """Ends all processes of a job at once, some time after a checkpoint of so many steps."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        found = checkpoint_folders(folder)
        if found:
            _, epoch, _, step = found[0].name.split("-")
            if int(epoch) * STEPS + int(step) >= num_steps:
                break
        time.sleep(0.002)
    assert process.poll() is None, process.communicate()
    for victim in [*psutil.Process(process.pid).children(recursive=True), process]:
        victim.kill()
    process.communicate(timeout=60)


def computed(out):
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [{name: json.loads(line)[name] for name in COMPUTED} for line in lines]


@pytest.mark.parametrize(
    ("num_ranks", "weights"), [(1, []), (4, []), (2, ["--edge-weights", "weight"])]
)
def test_a_killed_run_computes_the_same(parts, tmp_path, num_ranks, weights):
    whole, killed, folder = tmp_path / "whole", tmp_path / "killed", tmp_path / "checkpoints"
    words = ["--out", killed, "--checkpoint-dir", folder, "--save-every", 3, "--resume", "auto"]
    words += weights
    at = random.randint(1, 3 * STEPS)
    with (
        started(parts, num_ranks, "--out", whole, *weights) as whole_run,
        started(parts, num_ranks, *words) as process,
    ):
        kill_at(process, folder, at)
        output_of(whole_run)
    expected = computed(whole)
    assert len(expected) == NUM_EPOCHS * STEPS * num_ranks
    assert not (killed / "summary.json").exists()
    shown = run(parts, num_ranks, *words)
    assert "going on after" in shown
    assert computed(killed) == expected, f"killed after {at} steps"
    summaries = [json.loads((out / "summary.json").read_text()) for out in (whole, killed)]
    for epochs in zip(*(summary["epochs"] for summary in summaries), strict=True):
        for name in ("loss", "train_accuracy", "val_accuracy", "test_accuracy"):
            assert epochs[0][name] == epochs[1][name]

    # One more call finds nothing to do, and the model of four ranks goes on in one process.
    again = run(parts, num_ranks, *words)
    assert f"going on after {NUM_EPOCHS} epochs" in again and "epoch 5/5" not in again
    if num_ranks == 4:
        shown = run(
            *(parts, 1, "--out", tmp_path / "one", "--epochs", NUM_EPOCHS + 1),
            *("--resume", checkpoint_folders(folder)[1]),
        )
        assert "its minibatches have other seeds now; what each rank had of its own" in shown
        assert [f"epoch {epoch}/6" in shown for epoch in (4, 5, 6)] == [False, True, True]
