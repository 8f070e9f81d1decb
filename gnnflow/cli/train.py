"""`gnnflow-train`: trains a graph neural network on a folder of partitions."""

import logging
import sys
from pathlib import Path

from gnnflow.cli import options
from gnnflow.cli.job import joined_job, start_ranks
from gnnflow.config import RecordsConfig, TrainConfig
from gnnflow.errors import GnnflowError, printable
from gnnflow.optional import check_package
from gnnflow.policies.registry import check_policy_name


class _StderrHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to what is stderr at that moment, so that lines stand above a live line."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self):  # type: ignore[no-untyped-def]
        return sys.stderr


class _PlainFormatter(logging.Formatter):
    """Writes out what a terminal would obey in names, answers and reasons from outside."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def set_up_logging(level: str, rank: int) -> None:
    """Shows what gnnflow logs, each line with time, level and rank.

    Args:
        level: least level to show: debug, info, warning or error.
        rank: this rank.
    """
    logger = logging.getLogger("gnnflow")
    for handler in [each for each in logger.handlers if isinstance(each, _StderrHandler)]:
        logger.removeHandler(handler)
    handler = _StderrHandler()
    handler.setFormatter(
        _PlainFormatter(
            f"%(asctime)s %(levelname)s rank {rank} %(name)s: %(message)s", datefmt="%H:%M:%S"
        )
    )
    logger.addHandler(handler)
    logger.setLevel(level.upper())


def main() -> None:
    """Entry point of the command."""
    options.run(_train)


def _train() -> None:
    config = options.parse(TrainConfig, prog="gnnflow-train")
    _check_extras(config.records)
    check_policy_name(config.policy.policy)
    rank = start_ranks(
        config.parts,
        config.runtime.ranks,
        "gnnflow.cli.train",
        remedy="go on with --resume auto"
        if config.checkpoint.checkpoint_dir is not None
        else "with --checkpoint-dir a run can go on after this",
    )
    set_up_logging(config.records.log_level, rank)
    with joined_job(config.runtime) as ctx:
        # Imported here so that wrong options are told at once: torch takes seconds to load.
        from gnnflow.training.run import train

        summary = train(config, ctx)
        is_first = ctx.rank == 0
    if is_first and summary.folder is not None:
        _write_report(summary.folder)


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


if __name__ == "__main__":
    sys.argv[0] = "gnnflow-train"  # what ranks that --ranks started call themselves in messages
    main()
