"""Locks are taken in the order of docs/reliability.md, in a run that uses all of them."""

import json
from pathlib import Path

from jobs import run_job

# These guard a few numbers, nothing is called while they are held, and finalizers may take them
# anywhere.
LEAVES = {
    "gnnflow.comm.messages",
    "gnnflow.features.dist_feature_store",
    "gnnflow.prefetch.row_memory",
}
# Outer before inner; all other locks are held alone.
ORDER = {("gnnflow.policies.steering", "gnnflow.policies.controller")}
MADE = LEAVES | {
    "gnnflow.comm.failure",
    "gnnflow.policies.controller",
    "gnnflow.policies.steering",
    "gnnflow.prefetch.cached_rows",
    "gnnflow.prefetch.pipeline",
}


def test_locks_are_taken_in_order(parts, tmp_path):
    words = ["--ranks", 2, "--transport", "alltoall", "--batch-size", 10, "--fanout", "3,2"]
    words += ["--epochs", 2, "--threads", 1, "--eval-every", 0, "--scorer", "decay"]
    words += ["--policy", "bandit", "--policy-mode", "sync", "--decide-every", 2]
    words += ["--prefetch-depth", 2, "--fetch-early-bytes", 100_000, "--steer-exchange-every", 4]
    words += ["--checkpoint-dir", tmp_path / "checkpoints", "--save-every", 3]
    program = Path(__file__).with_name("lock_watch_train.py")
    ended = run_job([program, tmp_path, parts, *words, "--out", tmp_path / "run"])
    assert ended.returncode == 0, ended
    for rank in range(2):
        seen = json.loads((tmp_path / f"locks-{rank}.json").read_text())
        assert set(seen["made"]) == MADE, "name new locks here and in docs/reliability.md"
        pairs = {tuple(pair) for pair in seen["pairs"] if pair[1] not in LEAVES}
        assert pairs <= ORDER
        assert seen["waits"] == [], "a thread waited for another one with a lock held"
