"""Epoch time on emulated hosts with limited links: gnnflow against DistDGL and against itself.

    python -m benchmarks.cluster [--quick] [--json FILE] [--rates 200mbit,1gbit] [--hosts 2]

trains GraphSAGE on the same METIS parts, with the same fanout, minibatches and links, with each
contender in turn. Rows set gnnflow's best setting against the others: `cluster/RATE/distdgl`,
`cluster/RATE/none` (gnnflow without a cache) and `cluster/RATE/static` (static prefetching). Where
namespaces are not allowed, gnnflow's settings run over loopback, which limits nothing.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.cluster_runs import (
    DISTDGL,
    NO_CACHE,
    STATIC,
    Run,
    Workload,
    known_settings,
    make_parts,
    run_gnnflow,
    run_peer,
)
from benchmarks.distdgl.launch import convert
from benchmarks.emulated_hosts import EmulatedHosts, EmulationUnavailableError, emulated_hosts
from benchmarks.peers import peer_python
from gnnflow.errors import GnnflowError

_AGAINST = {
    DISTDGL: "DistDGL 1.1.3",
    NO_CACHE: "gnnflow without a cache",
    STATIC: "gnnflow, static prefetching with the decay scorer",
}
_QUICK = Workload(graph="sbm:vertices=60000,edges=435000,classes=64,features=128", epochs=3)


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What the command line asks for."""

    rates: tuple[str, ...]
    hosts: int
    ranks_per_host: int
    repeats: int
    workload: Workload
    parts: Path | None

    @property
    def num_ranks(self) -> int:
        """Ranks of a job."""
        return self.hosts * self.ranks_per_host

    @property
    def cpus_per_host(self) -> int | None:
        """Cores of a host, if there is one for each; else the hosts share what there is."""
        return len(os.sched_getaffinity(0)) // self.hosts or None

    @property
    def threads(self) -> int:
        """Threads of a rank or trainer."""
        return max(1, (self.cpus_per_host or 1) // self.ranks_per_host)


def run_all(options: Options, work: Path, tell: Callable[[Run], None]) -> list[Run]:
    """Runs all contenders on links of every rate.

    Args:
        options: What to run.
        work: Folder for parts in either format.
        tell: Called after each run.
    """
    parts, converted = options.parts or work / "parts", work / "distdgl"
    if options.parts is None:
        make_parts(options.workload, options.num_ranks, options.hosts, parts)
    python = peer_python("dgl")
    if python is None:
        _say("without DistDGL, which `python -m benchmarks.peers dgl` installs")
    runs = []
    for rate in options.rates:
        with _hosts(options, rate) as hosts:
            if python is not None and hosts is not None and not converted.exists():
                convert(python, parts, converted, options.hosts)
            for run in _run_in_turn(options, hosts, python, parts, converted):
                runs.append(run)
                tell(run)
        if hosts is None:
            break  # loopback has no other rate
    return runs


def _run_in_turn(
    options: Options,
    hosts: EmulatedHosts | None,
    python: Path | None,
    parts: Path,
    converted: Path,
) -> Iterator[Run]:
    """Takes turns, so that a load that comes and goes meets all contenders."""
    workload, num_ranks, threads = options.workload, options.num_ranks, options.threads
    settings = known_settings()
    for _ in range(options.repeats):
        if python is not None and hosts is not None:
            yield run_peer(hosts, python, parts, converted, workload, num_ranks, threads)
        for setting in settings:
            yield run_gnnflow(hosts, setting, parts, workload, num_ranks, threads)


@contextmanager
def _hosts(options: Options, rate: str) -> Iterator[EmulatedHosts | None]:
    with ExitStack() as stack:
        hosts = None
        try:
            hosts = stack.enter_context(
                emulated_hosts(options.hosts, rate=rate, cpus_per_host=options.cpus_per_host)
            )
        except EmulationUnavailableError as reason:
            _say(f"over loopback, without limits and without DistDGL: {reason}")
        yield hosts


def rows(runs: Sequence[Run]) -> list[dict[str, str | float]]:
    """Returns the benchmark's rows: gnnflow's best setting against the others, rate by rate."""
    times: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        times.setdefault(run.rate, {}).setdefault(run.contender, []).append(
            run.typical_epoch_time_s
        )
    found: list[dict[str, str | float]] = []
    for rate, contenders in times.items():
        medians = {name: statistics.median(values) for name, values in contenders.items()}
        best = min((name for name in medians if name != DISTDGL), key=medians.__getitem__)
        for name, against in _AGAINST.items():
            if name in medians and name != best:
                found.append(
                    {
                        "name": f"cluster/{rate}/{name}",
                        "ours": medians[best],
                        "theirs": medians[name],
                        "unit": "s/epoch",
                        "against": against,
                        "ratio": medians[name] / medians[best],
                    }
                )
    return found


def _describe(run: Run) -> str:
    sent = sum(traffic.sent_bytes for traffic in run.traffic.values()) / 1e6
    return (
        f"{run.rate:>10} {run.contender:<10} {run.typical_epoch_time_s:7.2f} s/epoch "
        f"{sent:8.0f} MB sent in {len(run.epoch_time_s)} epochs, "
        f"test accuracy {run.test_accuracy:.4f}"
    )


def _say(text: str) -> None:
    print(f"benchmarks.cluster: {text}", file=sys.stderr, flush=True)


def _parse() -> tuple[Options, Path | None, Path | None]:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cluster",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="a small graph and one rate: a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the rows go")
    parser.add_argument("--runs", type=Path, metavar="FILE", help="where all runs go, as JSON")
    parser.add_argument("--rates", help="rates of the links, as 200mbit,1gbit (the default)")
    parser.add_argument("--hosts", type=int, default=2)
    parser.add_argument("--ranks-per-host", type=int, default=1)
    parser.add_argument("--repeats", type=int, help="runs of each contender; 3 unless --quick")
    parser.add_argument("--epochs", type=int, help="epochs of a run, the first one not counted")
    parser.add_argument("--parts", type=Path, help="partition folder to use instead of a new one")
    given = parser.parse_args()
    workload = _QUICK if given.quick else Workload()
    rates = given.rates or ("1gbit" if given.quick else "200mbit,1gbit")
    options = Options(
        rates=tuple(rates.split(",")),
        hosts=given.hosts,
        ranks_per_host=given.ranks_per_host,
        repeats=given.repeats or (1 if given.quick else 3),
        workload=replace(workload, epochs=given.epochs or workload.epochs),
        parts=given.parts,
    )
    return options, given.json, given.runs


def main() -> None:
    """Runs the benchmark and prints its rows."""
    try:
        _run(*_parse())
    except GnnflowError as error:
        sys.exit(f"benchmarks.cluster: {error}")


def _run(options: Options, json_file: Path | None, runs_file: Path | None) -> None:
    with tempfile.TemporaryDirectory() as work:
        runs = run_all(options, Path(work), lambda run: print(_describe(run), flush=True))
    found = rows(runs)
    for row in found:
        print(
            f"{row['name']:<28} ours {row['ours']:.2f} theirs {row['theirs']:.2f} {row['unit']} "
            f"ratio {row['ratio']:.2f} against {row['against']}"
        )
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=2))
    if runs_file is not None:
        runs_file.write_text(json.dumps([asdict(run) for run in runs], indent=2))


if __name__ == "__main__":
    main()
