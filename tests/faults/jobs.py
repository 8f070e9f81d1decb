"""Jobs that meet faults: how they end, what they leave, and what they computed."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from ranks import ENVIRONMENT, start_program

from benchmarks.soak import mapped_by_anybody, shared_memory

PROGRAM = Path(__file__).with_name("faulty_train.py")
NUM_EPOCHS, STEPS = 3, 10
TRAINING = ["--fanout", "3,2", "--hidden", 64, "--epochs", NUM_EPOCHS, "--threads", 1]
TRAINING += ["--batch-size", 10, "--transport", "alltoall", "--eval-every", 0]
"""How most jobs train; `expected` is what they compute on two ranks."""

_MARK = "GNNFLOW_TEST_JOB"
# What a step computes; how long it took may differ.
_COMPUTED = ("epoch", "step", "rank", "loss", "weight", "num_seeds", "num_vertices", "num_edges")


def run_job(
    command: Sequence[object], *, limit_s: float = 120.0
) -> subprocess.CompletedProcess[str]:
    """Runs a program of Python arguments; all that it started must have ended with it."""
    mark = secrets.token_hex(8)
    before = shared_memory()
    temporary = tempfile.mkdtemp(prefix="faults-")
    program = [sys.executable, *map(str, command)]
    environment = os.environ | ENVIRONMENT | {_MARK: mark, "TMPDIR": temporary}
    process = start_program(program, environment)
    try:
        stdout, stderr = process.communicate(timeout=limit_s)
    finally:
        remaining = [pid for pid in processes_of(mark) if pid != process.pid]
        for pid in [*remaining, *([process.pid] if process.poll() is None else [])]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    assert not remaining, f"processes left behind: {remaining}\n{stdout}\n{stderr}"
    left = [path.name for path in Path(temporary).iterdir() if "torchinductor" not in path.name]
    shutil.rmtree(temporary)
    assert left == []
    # Jobs of others come and go; what they hold is mapped.
    assert shared_memory() - before - mapped_by_anybody() == set()
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def run_faulty(
    fault: str, rank: int, epoch: int, step: int, *words: object
) -> subprocess.CompletedProcess[str]:
    """Trains on ranks of which one meets a fault at a step."""
    return run_job([PROGRAM, fault, rank, epoch, step, *words])


def train(*words: object) -> subprocess.CompletedProcess[str]:
    """Trains and must succeed."""
    ended = run_job(["-m", "gnnflow.cli.train", *words])
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    return ended


def processes_of(mark: str) -> list[int]:
    """Processes that a job has started, without those that have ended and are to be waited for."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found


def computed(out: Path) -> list[dict[str, object]]:
    """What every step of a run computed."""
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [{name: json.loads(line)[name] for name in _COMPUTED} for line in lines]


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of that size; skips the test where none can be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no disk of {size} can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def grow_disk(folder: Path, size: str) -> None:
    """Frees some space."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)
