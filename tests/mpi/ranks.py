"""Starts ranks with mpiexec and ends them for certain."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from gnnflow.launch.mpiexec import find_mpiexec, launch_environment

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def start_program(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    output: IO[bytes] | None = None,
    cwd: Path = ROOT,
) -> subprocess.Popen[str]:
    """Starts a program in a session of its own, so that all of it can be ended, and heard.

    Args:
        command: the program and its words.
        environment: all of its variables.
        output: file for all that it prints; None gives pipes for standard output and error.
        cwd: its folder.
    """
    return subprocess.Popen(
        command,
        env=environment,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if output is None else output,
        stderr=subprocess.PIPE if output is None else subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def start_ranks(
    num_ranks: int,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    output: IO[bytes] | None = None,
    cwd: Path = ROOT,
) -> subprocess.Popen[str]:
    """Starts a command of Python arguments on several ranks, with variables of its own."""
    mpiexec = find_mpiexec()
    return start_program(
        [str(mpiexec), "-n", str(num_ranks), sys.executable, *command],
        launch_environment(mpiexec) | ENVIRONMENT | dict(environment),
        output=output,
        cwd=cwd,
    )


def end_program(process: subprocess.Popen[str]) -> None:
    """Ends a program and all that it has started."""
    process.send_signal(signal.SIGTERM)  # a launcher ends its ranks
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # a stuck rank may outlive its launcher
    process.wait()


def run_ranks(
    num_ranks: int,
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    limit_s: float = 120.0,
) -> subprocess.CompletedProcess[str]:
    """Runs a command of Python arguments on several ranks; a job over its time ends with -9."""
    process = start_ranks(num_ranks, command, environment or {})
    try:
        stdout, stderr = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        end_program(process)
        stdout, stderr = process.communicate()
        stderr += f"\nthe job did not end within {limit_s:g} s"
        return subprocess.CompletedProcess(process.args, -9, stdout, stderr)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
