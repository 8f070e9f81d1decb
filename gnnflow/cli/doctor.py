"""`gnnflow-doctor`: whether jobs run here, how fast ranks reach each other, and what to change."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from gnnflow.cli import options
from gnnflow.config import require_at_least
from gnnflow.errors import CommError
from gnnflow.files.json_text import to_json_text
from gnnflow.launch import detect_launch
from gnnflow.terminal import PlainConsole, Table, plain

PROG = "gnnflow-doctor"
_COLORS = {"ok": "green", "note": "yellow", "problem": "red"}


@dataclass(frozen=True, kw_only=True, slots=True)
class DoctorConfig:
    """Checks this machine, or all machines of a job: mpiexec -n 8 gnnflow-doctor."""

    ranks: int = 2
    """Start this many ranks here to measure the links between them; under a launcher, its ranks
    measure."""

    json: bool = False
    """Print JSON."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: if a value is out of range.
        """
        require_at_least(self, 1, "ranks")


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of the command; ends with 1 if something keeps jobs from running."""
    options.run(lambda: _examine(args))


def _examine(args: Sequence[str] | None) -> None:
    config = options.parse(DoctorConfig, prog=PROG, args=args)
    launched = detect_launch()
    # torch, which this loads, takes seconds; wrong options are told before.
    from gnnflow.doctor import check_links, check_machine, links_of_started_ranks, measure_links

    if launched is None or launched.num_ranks == 1:
        findings = check_machine(config.ranks)
        links, on_the_way = links_of_started_ranks(config.ranks)
        findings += on_the_way
    else:
        try:
            links = measure_links(launched)
        except ImportError as error:
            raise CommError(
                f"MPI cannot be loaded ({error}); install one with pip install gnnflow[mpich]"
            ) from None
        if launched.rank != 0:
            return
        ranks_here = links.hosts.count(links.hosts[0])
        findings = check_machine(ranks_here)
    if links is not None:
        findings += check_links(links, launched)
    if config.json:
        print(to_json_text([asdict(finding) for finding in findings], indent=1))
    else:
        table = Table(show_header=False, box=None, pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for finding in findings:
            said = finding.value if not finding.advice else f"{finding.value}\n→ {finding.advice}"
            table.add_row(plain(finding.state, _COLORS[finding.state]), finding.name, said)
        PlainConsole().print(table, highlight=False)
    if any(finding.state == "problem" for finding in findings):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
