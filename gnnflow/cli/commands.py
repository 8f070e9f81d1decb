"""Entry points of the commands.

What a command needs takes seconds to import; Ctrl-C meanwhile is told in one line as it is later.
"""

import os
import signal
import sys
from importlib import import_module
from pathlib import Path

_RANK_VARIABLES = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID")


def doctor() -> None:
    """Runs `gnnflow-doctor`."""
    _run("doctor")


def infer() -> None:
    """Runs `gnnflow-infer`."""
    _run("infer")


def info() -> None:
    """Runs `gnnflow-info`."""
    _run("info")


def partition() -> None:
    """Runs `gnnflow-partition`."""
    _run("partition")


def policy() -> None:
    """Runs `gnnflow-policy`."""
    _run("policy")


def replay() -> None:
    """Runs `gnnflow-replay`."""
    _run("replay")


def report() -> None:
    """Runs `gnnflow-report`."""
    _run("report")


def train() -> None:
    """Runs `gnnflow-train`."""
    _run("train")


def is_first_rank() -> bool:
    """Whether this process speaks for all ranks of a job that say the same."""
    return all(os.environ.get(name, "0") == "0" for name in _RANK_VARIABLES)


def say_interrupted() -> None:
    """Says on one line that Ctrl-C was pressed."""
    if is_first_rank():
        print(f"{Path(sys.argv[0]).name}: error: interrupted", file=sys.stderr)


def _run(name: str) -> None:
    try:
        main = import_module(f"gnnflow.cli.{name}").main
    except KeyboardInterrupt:
        say_interrupted()
        raise SystemExit(128 + signal.SIGINT) from None
    main()
