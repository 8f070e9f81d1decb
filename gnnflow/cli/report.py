"""`gnnflow-report`: the page of a run, or one that compares several."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from gnnflow.cli import options
from gnnflow.config import require
from gnnflow.report import write_comparison, write_report
from gnnflow.terminal import say

PROG = "gnnflow-report"
_COMPARISON_FILE = Path("comparison.html")


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportConfig:
    """Writes the page of a run anew, or one page that compares several runs."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of finished runs, as written by gnnflow-train."""

    out: Path | None = None
    """Page to write; by default report.html in the folder of the run, and comparison.html here for
    several."""

    def __post_init__(self) -> None:
        """Checks that there is a run.

        Raises:
            ConfigError: if there is none.
        """
        require(bool(self.runs), "name the folder of a run, or several to compare them")


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of the command."""
    options.run(lambda: _report(args))


def _report(args: Sequence[str] | None) -> None:
    config = options.parse(ReportConfig, prog=PROG, args=args)
    if len(config.runs) == 1:
        path = write_report(config.runs[0], config.out)
    else:
        path = write_comparison(config.runs, config.out or _COMPARISON_FILE)
    say(path)


if __name__ == "__main__":
    main()
