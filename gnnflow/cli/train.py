"""`gnnflow-train`: trains a graph neural network on a folder of partitions."""

import os
import shutil
import sys
from pathlib import Path

from gnnflow.cli import options
from gnnflow.cli.logs import set_up_logging
from gnnflow.comm import detect_launch, init, launch
from gnnflow.config import RecordsConfig, TrainConfig
from gnnflow.errors import ConfigError, GnnflowError
from gnnflow.optional import check_package
from gnnflow.partition import read_manifest
from gnnflow.policies.registry import check_policy_name


def main() -> None:
    """Entry point of the command."""
    options.run(_train)


def _train() -> None:
    config = options.parse(TrainConfig, prog="gnnflow-train")
    runtime = config.runtime
    launched = detect_launch()
    if launched is not None and runtime.ranks not in (None, launched.num_ranks):
        raise ConfigError(
            f"ranks is {runtime.ranks} but {launched.launcher} started {launched.num_ranks}; "
            "leave out --ranks"
        )
    num_ranks = (runtime.ranks or 1) if launched is None else launched.num_ranks
    _check_parts(config, num_ranks)
    _check_extras(config.records)
    check_policy_name(config.policy.policy)
    _let_waiting_threads_sleep()
    if launched is None and num_ranks > 1:
        _hand_on_terminal()
        launch(num_ranks, [sys.executable, "-m", "gnnflow.cli.train", *sys.argv[1:]])
    set_up_logging(config.records.log_level, 0 if launched is None else launched.rank)
    with init(
        transport=runtime.transport, comm_timeout_s=runtime.comm_timeout, threads=runtime.threads
    ) as ctx:
        # Imported here so that wrong options are told at once: torch takes seconds to load.
        from gnnflow.training.run import train

        summary = train(config, ctx)
        is_first = ctx.rank == 0
    if is_first and summary.folder is not None:
        _write_report(summary.folder)


def _check_parts(config: TrainConfig, num_ranks: int) -> None:
    """Finds a wrong number of ranks before any rank starts."""
    num_parts = read_manifest(config.parts).num_parts
    if num_parts != num_ranks:
        raise ConfigError(
            f"{config.parts} has {num_parts} parts but the job has {num_ranks} ranks; "
            f"use --ranks {num_parts}, or partition the graph again with --num-parts {num_ranks}"
        )


def _check_extras(config: RecordsConfig) -> None:
    """Finds a missing package before any rank starts."""
    if config.tensorboard:
        check_package("tensorboard", extra="tensorboard", purpose="--tensorboard")
    if config.wandb is not None:
        check_package("wandb", extra="wandb", purpose="--wandb")


def _write_report(folder: Path) -> None:
    """Writes the page of the run; without it the run is as good."""
    try:
        from gnnflow.report import write_report

        print(write_report(folder))
    except GnnflowError as error:
        print(f"no report of the run: {error}", file=sys.stderr)


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


if __name__ == "__main__":
    sys.argv[0] = "gnnflow-train"  # what ranks that --ranks started call themselves in messages
    main()
