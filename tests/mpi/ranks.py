"""Starts ranks with mpiexec and ends them for certain."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from gnnflow.comm.launch import find_mpiexec, launch_environment

ROOT = Path(__file__).parents[2]


def run_ranks(
    num_ranks: int,
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    limit_s: float = 120.0,
) -> subprocess.CompletedProcess[str]:
    """Runs a command of Python arguments on several ranks; a job over its time ends with -9."""
    mpiexec = find_mpiexec()
    process = subprocess.Popen(
        [mpiexec, "-n", str(num_ranks), sys.executable, *command],
        env=launch_environment(mpiexec)
        | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        | dict(environment or {}),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)  # the launcher ends its ranks
        try:
            stdout, stderr = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            stdout, stderr = process.communicate()
        stderr += f"\nthe job did not end within {limit_s:g} s"
        return subprocess.CompletedProcess(process.args, -9, stdout, stderr)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
