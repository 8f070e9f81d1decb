"""Starts ranks with mpiexec and ends them for certain."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from gnnflow.launch.mpiexec import find_mpiexec, launch_environment

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def start_program(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """Starts a program in a session of its own, so that all of it can be ended, and heard."""
    return subprocess.Popen(
        command,
        env=environment,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run_ranks(
    num_ranks: int,
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    limit_s: float = 120.0,
) -> subprocess.CompletedProcess[str]:
    """Runs a command of Python arguments on several ranks; a job over its time ends with -9."""
    mpiexec = find_mpiexec()
    process = start_program(
        [str(mpiexec), "-n", str(num_ranks), sys.executable, *command],
        launch_environment(mpiexec) | ENVIRONMENT | dict(environment or {}),
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
