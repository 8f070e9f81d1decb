"""How the process that started the ranks of a job tells how it ended."""

import contextlib
import math
import os
import signal
import socket
import sys
from pathlib import Path

from gnnflow.units import human_bytes

SHARED_MEMORY = "/dev/shm"
_MPICH_MEMORY = f"{SHARED_MEMORY}/mpich_shm_"
# Docker gives a container so much, with which MPI starts.
_USUAL_BYTES = 64e6
_PLENTY_BYTES = 4e6


def say(text: str) -> None:
    """Prints why the job ends, one line on stderr, if there is still somebody who reads it."""
    _print(f"error: {text}")


def warn(text: str) -> None:
    """Prints what went wrong in a job that went on, one line on stderr."""
    _print(f"warning: {text}")


def _print(text: str) -> None:
    program = Path(sys.argv[0]).name or "gnnflow"
    with contextlib.suppress(OSError, ValueError):  # the exit code tells what is left to tell
        print(f"{program}: {text}", file=sys.stderr, flush=True)


def killed_line(rank: int, pid: int, number: int, step: str, remedy: str) -> str:
    """Says that a rank was killed.

    Args:
        rank: which one.
        pid: its process.
        number: the signal.
        step: what it was doing, as far as it has said so.
        remedy: what a user may do, in words.
    """
    where = f"rank {rank} (process {pid} on {socket.gethostname()})"
    when = f" at {step}" if step else " while it started"
    return f"{where} was killed by {name_of(number)}{when}{cause(number)}{_and(remedy)}"


def early_line(rank: int, pid: int) -> str:
    """Says that a rank has ended, without an error, where others wait for it."""
    return (
        f"rank {rank} (process {pid} on {socket.gethostname()}) has ended with exit code 0 while "
        "other ranks wait for it; all ranks must run to the end of the program"
    )


def launcher_line(launcher: str, number: int, remedy: str) -> str:
    """Says that the launcher itself was killed."""
    what = f"{launcher}, which runs the ranks, was killed by {name_of(number)}"
    return f"{what}{cause(number)}{_and(remedy)}"


def name_of(number: int) -> str:
    """Names a signal."""
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


def _and(remedy: str) -> str:
    return f"; {remedy}" if remedy else ""


def cause(number: int) -> str:
    """Says in brackets what has most often happened to a process that such a signal ends."""
    if number == signal.SIGKILL:
        return " (often: out of memory)"
    if number not in (signal.SIGBUS, signal.SIGSEGV):
        return ""
    free, size = shared_memory_bytes()
    if size < _USUAL_BYTES or (number == signal.SIGBUS and free < _PLENTY_BYTES):
        return (
            f" ({SHARED_MEMORY}, which ranks share, has {human_bytes(free)} of "
            f"{human_bytes(size)} free; make it larger, in Docker by --shm-size=8g)"
        )
    if number == signal.SIGBUS:
        return " (often: a file that it had mapped was cut short, or its disk is full)"
    return ""


def shared_memory_bytes() -> tuple[float, float]:
    """Free and all bytes of the memory in which ranks of a machine meet; infinite if unknown."""
    try:
        room = os.statvfs(SHARED_MEMORY)
    except OSError:
        return math.inf, math.inf
    return float(room.f_bavail * room.f_frsize), float(room.f_blocks * room.f_frsize)


def mpich_memory_of(pid: int | str) -> set[str]:
    """Names of the shared memory that MPICH has set up in a process; none where there is no /proc.

    MPICH removes them when it is finalised: those of a job that is killed would stay.
    """
    try:
        maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    return {
        line.split()[-1]
        for line in maps.splitlines()
        if f" {_MPICH_MEMORY}" in line and not line.endswith("(deleted)")
    }
