"""gnnflow's commands as benchmarks run them, in processes of their own, and what those leave."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gnnflow.errors import GnnflowError
from gnnflow.launch.mpiexec import find_mpiexec, launch_environment

_SHOWN = 1500


class CommandError(GnnflowError):
    """A command of a benchmark failed."""


def gnnflow_command(name: str) -> list[str]:
    """The command gnnflow-NAME of this interpreter, installed or not."""
    return [sys.executable, "-c", f"from gnnflow.cli.{name} import main; main()"]


def option_words(options: Mapping[str, object]) -> list[str]:
    """Options by name, without the dashes, as words of a command line."""
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def run_command(command: Sequence[object], what: str, env: dict[str, str] | None = None) -> str:
    """Runs a command and returns what it wrote.

    Raises:
        CommandError: If it fails.
    """
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, env=env)
    if done.returncode != 0:
        raise CommandError(f"{what} failed: {(done.stderr or done.stdout).strip()[-_SHOWN:]}")
    return done.stdout


def run_ranks(num_ranks: int, module: str, *words: object) -> str:
    """Runs a module as the ranks of an MPI job and returns what they wrote.

    Raises:
        CommandError: If it fails.
    """
    mpiexec = find_mpiexec()
    command = [mpiexec, "-n", num_ranks, sys.executable, "-m", module, *words]
    return run_command(command, f"{num_ranks} ranks", env=launch_environment(mpiexec))


def make_parts(out: Path, num_parts: int, *source: object) -> None:
    """Cuts a graph with gnnflow-partition; `source` are the words that say which, and how.

    Raises:
        CommandError: If it fails.
    """
    command = [*gnnflow_command("partition"), *source, "--num-parts", num_parts, "--out", out]
    run_command(command, "gnnflow-partition")


def train(parts: Path, out: Path, options: Mapping[str, object], *words: object) -> dict[str, Any]:
    """Runs gnnflow-train; returns its summary.

    Raises:
        CommandError: If it fails.
    """
    command = [*gnnflow_command("train"), parts, *option_words(options), "--out", out, *words]
    run_command(command, "gnnflow-train")
    return summary_of(out)


def summary_of(out: Path) -> dict[str, Any]:
    """Reads the summary of a run."""
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return summary


def steps_of(out: Path) -> list[dict[str, Any]]:
    """Reads what a run noted of each step of each rank."""
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
