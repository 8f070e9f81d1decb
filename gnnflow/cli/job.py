"""The job of a command that runs one rank per part: its ranks are started, and each joins it."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gnnflow.comm import Context, init
from gnnflow.config import JobConfig
from gnnflow.errors import ConfigError
from gnnflow.launch import detect_launch, launch
from gnnflow.launch.environment import check_no_torchrun
from gnnflow.partition import read_manifest


def start_ranks(parts: Path, ranks: int | None, module: str, *, remedy: str = "") -> int:
    """Makes sure that there is a rank for each part; starts them if this is no rank yet.

    Args:
        parts: the partition folder.
        ranks: how many ranks the user wants to be started.
        module: the module of the command, which the ranks run with the words of this process.
        remedy: what a user may do if a rank is killed, in words.

    Returns:
        The number of this rank; a process that starts ranks ends with them instead.

    Raises:
        ConfigError: if the number of ranks is not that of the parts.
        CommError: if torchrun started several processes.
    """
    check_no_torchrun()
    launched = detect_launch()
    if launched is not None and ranks not in (None, launched.num_ranks):
        raise ConfigError(
            f"ranks is {ranks} but {launched.launcher} started {launched.num_ranks}; "
            "leave out --ranks"
        )
    num_ranks = (ranks or 1) if launched is None else launched.num_ranks
    num_parts = read_manifest(parts).num_parts
    if num_parts != num_ranks:
        raise ConfigError(
            f"{parts} has {num_parts} parts but the job has {num_ranks} ranks; "
            f"use --ranks {num_parts}, or partition the graph again with --num-parts {num_ranks}"
        )
    _let_waiting_threads_sleep()
    if launched is None and num_ranks > 1:
        _hand_on_terminal()
        launch(num_ranks, [sys.executable, "-m", module, *sys.argv[1:]], remedy=remedy)
    return 0 if launched is None else launched.rank


@contextmanager
def joined_job(config: JobConfig) -> Iterator[Context]:
    """Opens the context of this rank as its options say; Ctrl-C then ends the job at once."""
    with init(
        transport=config.transport, comm_timeout_s=config.comm_timeout, threads=config.threads
    ) as ctx:
        ctx.end_on_interrupt()
        yield ctx


def _let_waiting_threads_sleep() -> None:
    """Sets OpenMP's wait policy, which counts only until torch is loaded.

    By default torch's threads spin while they wait for work, on the cores that sampling,
    communication and other ranks need; with more threads than cores an epoch takes ten times as
    long.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _hand_on_terminal() -> None:
    """Lets rank 0, whose output the launcher pipes, draw as if it had the terminal itself."""
    if sys.stdout.isatty():
        size = shutil.get_terminal_size()
        os.environ.setdefault("TTY_COMPATIBLE", "1")
        os.environ.setdefault("TTY_INTERACTIVE", "1")
        os.environ.setdefault("COLUMNS", str(size.columns))
