"""Log lines of the ranks of a job on stderr."""

import logging
import sys

from gnnflow.errors import printable


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
