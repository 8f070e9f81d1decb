"""A link that is cut during an exchange ends the job within the time-out, with a line."""

import os
import re
import sys
from pathlib import Path

import pytest
from jobs import PROGRAM
from ranks import ENVIRONMENT

from benchmarks.emulated_hosts import EmulationUnavailableError, emulated_hosts, run_mpi


def test_a_cut_link_ends_the_job(parts: Path, tmp_path: Path) -> None:
    words = ["--fanout", "3,2", "--hidden", 8, "--epochs", 3, "--threads", 1, "--batch-size", 10]
    # Longer than the transport below MPI would take to notice by itself.
    words += ["--eval-every", 0, "--comm-timeout", 30, "--out", tmp_path / "run"]
    try:
        with emulated_hosts(2, rate=None) as hosts:
            ended = run_mpi(
                hosts,
                1,
                [*(sys.executable, str(PROGRAM), "cut link", "1", "1", "7", str(parts))]
                + [str(word) for word in words],
                ENVIRONMENT | {"PATH": os.environ["PATH"]},
                timeout_s=150.0,
            )
    except EmulationUnavailableError as reason:
        pytest.skip(f"no emulated hosts here: {reason}")
    assert ended.returncode != 0, ended.output
    lines = [line for line in ended.output.splitlines() if "error" in line]
    assert any(
        re.search(
            r"gnnflow-train: error on rank 0: .* at epoch 1, step \d+ .*rank 1 does not", line
        )
        for line in lines
    ), ended.output
    assert "Traceback" not in ended.output, ended.output
