"""A rank that is killed, crashes, is stopped or has no memory left ends the job with one line."""

import re
import socket
import sys

import pytest
from jobs import PROGRAM, TRAINING, computed, run_faulty, run_job, train

from gnnflow.launch.mpiexec import find_mpiexec

HOST = re.escape(socket.gethostname())


@pytest.fixture(scope="module")
def options(parts):
    return [parts, *TRAINING]


def test_a_killed_rank_is_named_and_the_run_goes_on(options, expected, tmp_path):
    words = [*options, "--ranks", 2, "--out", tmp_path / "run"]
    words += ["--checkpoint-dir", tmp_path / "checkpoints", "--save-every", 3]
    ended = run_faulty("kill", 1, 1, 7, *words)
    assert re.fullmatch(
        rf"gnnflow-train: error: rank 1 \(process \d+ on {HOST}\) was killed by signal 9 "
        r"\(SIGKILL\) at epoch 1, step 7 \(often: out of memory\); go on with --resume auto\n",
        ended.stderr,
    ), ended
    assert ended.returncode == 137
    assert "BAD TERMINATION" not in ended.stdout
    resumed = train(*words, "--resume", "auto")
    assert "going on after 1 epochs and 5 steps" in resumed.stdout
    assert computed(tmp_path / "run") == expected


def test_a_crash_is_named(options, tmp_path):
    ended = run_faulty("crash", 0, 0, 2, *options, "--ranks", 2, "--out", tmp_path / "run")
    assert re.search(
        r"error: rank 0 \(.*\) was killed by signal 11 \(SIGSEGV\) at epoch 0, step 2; "
        r"with --checkpoint-dir a run can go on after this\n$",
        ended.stderr,
    ), ended
    assert ended.returncode == 139


def test_a_stopped_rank_is_named_and_ended(options, tmp_path):
    # Long enough for a slow first step of one rank, which the others wait for too.
    words = [*options, "--comm-timeout", 10, "--ranks", 2, "--out", tmp_path / "run"]
    ended = run_faulty("stop", 1, 1, 7, *words)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    # Whichever was waited for first is overdue: a row, a barrier or the sum of gradients.
    assert line.startswith("gnnflow-train: error on rank 0: "), line
    assert re.search(r"at epoch 1, step \d+ .*: rank 1 does not respond$", line), line


def test_a_rank_without_memory_says_so(options, tmp_path):
    ended = run_faulty("no memory", 1, 1, 7, *options, "--ranks", 2, "--out", tmp_path / "run")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith(
        "gnnflow-train: error on rank 1: at epoch 1, step 7: out of memory (Unable to allocate"
    ), line
    assert line.endswith(
        "take a smaller --batch-size, --fanout or halo cache, fewer --threads, or more parts"
    )


def test_an_interrupt_ends_all(options, tmp_path):
    words = [*options, "--epochs", 10_000, "--ranks", 2, "--out", tmp_path / "run"]
    ended = run_faulty("interrupt", 1, 1, 7, *words)
    assert ended.returncode == 130
    assert re.fullmatch(r"gnnflow-train: error( on rank \d)?: interrupted\n", ended.stderr), ended


def test_under_another_launcher_a_killed_rank_ends_the_job(options, tmp_path):
    """The launcher may end the others before one of them can say a word, but none says two."""
    command = ["-c", "import os, sys; os.execv(sys.argv[1], sys.argv[1:])", find_mpiexec()]
    command += ["-n", 2, sys.executable, PROGRAM]
    ended = run_job([*command, "kill", 1, 1, 7, *options, "--out", tmp_path / "run"])
    assert ended.returncode not in (0, None)
    lines = [line for line in ended.stderr.splitlines() if line.startswith("gnnflow-train")]
    pattern = (
        rf"gnnflow-train: error: rank 1 \(process \d+ on {HOST}\) has ended, while rank 0 was at .*"
    )
    assert len(lines) <= 1 and all(re.fullmatch(pattern, line) for line in lines), ended
