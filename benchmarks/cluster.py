"""Epoch time on emulated hosts with limited links: gnnflow against DistDGL and against itself.

    python -m benchmarks.cluster [--quick] [--json FILE] [--rates 200mbit,1gbit] [--hosts 2]

trains GraphSAGE on the same METIS parts, with the same links and hyperparameters
(`benchmarks.hyperparameters`), with each contender in turn; repeats have seeds of their own, the
same for all. Rows set gnnflow's fastest setting with a cache of 25 % of the halo against the
others: `cluster/RATE/distdgl`, `cluster/RATE/none` (gnnflow without a cache),
`cluster/RATE/static` (the scorer `decay`, replacing every 25 minibatches: one schedule, not the
best), `cluster/RATE/lookahead`, `cluster/RATE/dependent` (lookahead on minibatches drawn by keys of
16 steps), `cluster/RATE/stored` (with a stored first hop besides) and `cluster/RATE/gradients` (and
gradients in bfloat16), without the one that is fastest; `cluster/RATE/dependent/static` sets the
dependent draw without a stored hop against static prefetching. Each comes with the accuracies of
both sides after the same epochs, and says when they differ by more than the spread of the seeds.
With `--large-caches`, rows `cluster/RATE/50/...` and `cluster/RATE/50-bfloat16/...` do the same for
caches of 50 %, and for rows that travel in half the bytes. Where namespaces are not allowed,
gnnflow's settings run over loopback, which limits nothing.
"""

import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks._harness import Options, Report, Row, parser_of, write_json
from benchmarks.cluster_runs import (
    DEPENDENT,
    DISTDGL,
    GROUPS,
    LOOKAHEAD,
    NO_CACHE,
    SETTINGS,
    SHORT_GRADIENTS,
    STATIC,
    STORED,
    Run,
    Workload,
    make_parts,
    run_gnnflow,
)
from benchmarks.emulated_hosts import EmulatedHosts, EmulationUnavailableError, emulated_hosts
from benchmarks.equal_learning import Learnt, gaps
from benchmarks.hyperparameters import HYPERPARAMETERS
from benchmarks.peers import peer_python
from benchmarks.peers.distdgl_job import convert, run_distdgl
from gnnflow.errors import GnnflowError

_AGAINST = {
    DISTDGL: "DistDGL 1.1.3",
    NO_CACHE: "gnnflow without a cache",
    STATIC: "gnnflow, static prefetching (decay, every 25)",
    LOOKAHEAD: "gnnflow, lookahead",
    DEPENDENT: "gnnflow, lookahead, dependent draw",
    STORED: "gnnflow, lookahead, dependent draw, stored first hop",
    SHORT_GRADIENTS: "gnnflow, the same with gradients in bfloat16",
}
_QUICK = Workload(
    graph="sbm:vertices=60000,edges=435000,classes=64,features=128",
    hyperparameters=replace(HYPERPARAMETERS, epochs=3),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterPlan:
    """What to run."""

    rates: tuple[str, ...]
    hosts: int
    ranks_per_host: int
    repeats: int
    workload: Workload
    parts: Path | None
    groups: tuple[str, ...]

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


def run_all(plan: ClusterPlan, work: Path, report: Report) -> list[Run]:
    """Runs all contenders on links of every rate.

    Args:
        plan: What to run.
        work: Folder for parts in either format.
        report: Told of each run, and of contenders that cannot run.
    """
    parts, converted = plan.parts or work / "parts", work / "distdgl"
    if plan.parts is None:
        make_parts(plan.workload, plan.num_ranks, plan.hosts, parts)
    python = peer_python("dgl")
    if python is None:
        report.absent("DistDGL", "`python -m benchmarks.peers dgl` installs it")
    runs = []
    for rate in plan.rates:
        with _hosts(plan, rate, report) as hosts:
            if python is not None and hosts is not None and not converted.exists():
                convert(python, parts, converted, plan.hosts)
            for run in _run_in_turn(plan, hosts, python, parts, converted):
                runs.append(run)
                report.say(describe(run))
        if hosts is None:
            break  # loopback has no other rate
    return runs


def _run_in_turn(
    plan: ClusterPlan,
    hosts: EmulatedHosts | None,
    python: Path | None,
    parts: Path,
    converted: Path,
) -> Iterator[Run]:
    """Takes turns, so that a load that comes and goes meets all contenders.

    Each turn has a seed of its own, the same for all.
    """
    num_ranks, threads = plan.num_ranks, plan.threads
    names = {name for group in plan.groups for name in GROUPS[group]}
    settings = [setting for setting in SETTINGS if setting.name in names]
    for number in range(plan.repeats):
        workload = plan.workload.seeded(plan.workload.hyperparameters.seed + number)
        if python is not None and hosts is not None:
            yield run_distdgl(hosts, python, parts, converted, workload, num_ranks, threads)
        for setting in settings:
            yield run_gnnflow(hosts, setting, parts, workload, num_ranks, threads)


@contextmanager
def _hosts(plan: ClusterPlan, rate: str, report: Report) -> Iterator[EmulatedHosts | None]:
    with ExitStack() as stack:
        hosts = None
        try:
            hosts = stack.enter_context(
                emulated_hosts(plan.hosts, rate=rate, cpus_per_host=plan.cpus_per_host)
            )
        except EmulationUnavailableError as reason:
            report.absent("DistDGL and at limited rates", f"over loopback only: {reason}")
        yield hosts


def rows(runs: Sequence[Run]) -> list[Row]:
    """Returns the benchmark's rows: gnnflow's best setting against the others, rate by rate."""
    by_rate: dict[str, dict[str, list[Run]]] = {}
    for run in runs:
        by_rate.setdefault(run.rate, {}).setdefault(run.contender, []).append(run)
    found = []
    for rate, contenders in by_rate.items():
        times = {
            name: statistics.median(run.typical_epoch_time_s for run in of_one)
            for name, of_one in contenders.items()
        }
        for group, members in GROUPS.items():
            found += _rows_of_group(rate, group, members, contenders, times)
        if DEPENDENT in times and STATIC in times:
            found.append(
                Row(
                    name=f"cluster/{rate}/dependent/static",
                    ours=times[DEPENDENT],
                    theirs=times[STATIC],
                    unit="s/epoch",
                    against=_AGAINST[STATIC],
                    facts=_learning(contenders[DEPENDENT], contenders[STATIC]),
                )
            )
    return found


def _rows_of_group(
    rate: str,
    group: str,
    members: Sequence[str],
    contenders: dict[str, list[Run]],
    times: dict[str, float],
) -> Iterator[Row]:
    """Sets the fastest setting of a group against its other settings and DistDGL."""
    present = [name for name in members if name in times]
    if not present or (members[-1] not in present and group):
        return
    best = min(present, key=times.__getitem__)
    for name in (DISTDGL, *present):
        if name not in times or name == best:
            continue
        plain = name.split("-")[0]
        facts: dict[str, float | str] = {"our_setting": best}
        facts |= _learning(contenders[best], contenders[name])
        for side, contender in (("our", best), ("their", name)):
            runs = contenders[contender]
            facts |= {
                f"{side}_slowest_run_s": max(run.typical_epoch_time_s for run in runs),
                f"{side}_bytes_sent_in_all_epochs": float(
                    statistics.median(run.sent_bytes for run in runs)
                ),
            }
            facts[f"{side}_epochs_with_the_first_s"] = statistics.median(
                sum(run.epoch_time_s) for run in runs
            )
            stages = runs[0].stages_s
            if stages:
                facts[f"{side}_epoch"] = ", ".join(
                    f"{stage} {seconds:.2f} s" for stage, seconds in stages.items()
                )
            hidden = [run.hidden_share for run in runs if run.hidden_share is not None]
            if hidden:
                facts[f"{side}_share_of_fetching_hidden_where_it_fits"] = statistics.median(hidden)
        least_s = [contenders[contender][0].rows_alone_s for contender in (best, name)]
        if least_s[0] and least_s[1]:
            # Links that never rest allow no better ratio; gradients and samples, as many bytes on
            # either side, bring it nearer to 1.
            facts["our_rows_alone_s"], facts["their_rows_alone_s"] = least_s[0], least_s[1]
            facts["ratio_of_rows_alone"] = least_s[1] / least_s[0]
        yield Row(
            name="/".join(filter(None, ("cluster", rate, group, plain))),
            ours=times[best],
            theirs=times[name],
            unit="s/epoch",
            against=_AGAINST[plain],
            facts=facts,
        )


def _learning(ours: Sequence[Run], theirs: Sequence[Run]) -> dict[str, float | str]:
    """Accuracies of both sides after the same epochs, and whether they differ.

    Raises:
        GnnflowError: If the sides trained with different hyperparameters.
    """
    said = {replace(run.hyperparameters, seed=0) for run in (*ours, *theirs)}
    if len(said) > 1:
        raise GnnflowError(f"times of different trainings are not to be compared: {said}")
    (hyper,) = said
    facts: dict[str, float | str] = {"accuracies_after_epochs": float(hyper.epochs)}
    sides = {"our": _learnt(ours), "their": _learnt(theirs)}
    for split in ("val", "test"):
        for side, learnt in sides.items():
            accuracy = learnt.median(split)
            if accuracy is not None:
                facts[f"{side}_{split}_accuracy"] = accuracy
    found = gaps(sides["our"], sides["their"])
    if found:
        facts["accuracies_apart"] = "; ".join(map(str, found))
    return facts


def _learnt(runs: Sequence[Run]) -> Learnt:
    by_split = {
        "val": [run.val_accuracy for run in runs if run.val_accuracy is not None],
        "test": [run.test_accuracy for run in runs if run.test_accuracy is not None],
    }
    return Learnt(by_split=by_split)


def describe(run: Run) -> str:
    """A run in a line."""
    val, test = (
        "not known" if accuracy is None else f"{accuracy:.4f}"
        for accuracy in (run.val_accuracy, run.test_accuracy)
    )
    return (
        f"{run.rate:>10} {run.contender:<10} {run.typical_epoch_time_s:7.2f} s/epoch "
        f"{run.sent_bytes / 1e6:8.0f} MB sent in {len(run.epoch_time_s)} epochs, "
        f"validation accuracy {val}, test accuracy {test}"
    )


def _parse() -> tuple[ClusterPlan, Options, Path | None]:
    parser = parser_of("benchmarks.cluster", __doc__)
    parser.add_argument("--quick", action="store_true", help="end within a minute on two cores")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file")
    parser.add_argument("--runs", type=Path, metavar="FILE", help="write all runs to this file")
    parser.add_argument("--rates", help="rates of the links (200mbit,1gbit; 1gbit with --quick)")
    parser.add_argument("--hosts", type=int, default=2, help="emulated hosts (2)")
    parser.add_argument("--ranks-per-host", type=int, default=1, help="ranks of each (1)")
    parser.add_argument("--repeats", type=int, help="runs of each contender (3; 1 with --quick)")
    parser.add_argument("--epochs", type=int, help="epochs of a run, the first one not counted (4)")
    parser.add_argument("--parts", type=Path, help="partition folder to use instead of a new one")
    parser.add_argument(
        "--large-caches", action="store_true", help="also caches of 50 %%, with rows in half too"
    )
    given = parser.parse_args()
    workload = _QUICK if given.quick else Workload()
    if given.epochs:
        hyper = replace(workload.hyperparameters, epochs=given.epochs)
        workload = replace(workload, hyperparameters=hyper)
    rates = given.rates or ("1gbit" if given.quick else "200mbit,1gbit")
    plan = ClusterPlan(
        rates=tuple(rates.split(",")),
        hosts=given.hosts,
        ranks_per_host=given.ranks_per_host,
        repeats=given.repeats or (1 if given.quick else 3),
        workload=workload,
        parts=given.parts,
        groups=tuple(GROUPS) if given.large_caches else ("",),
    )
    return plan, Options(quick=given.quick, json=given.json, threads=plan.threads), given.runs


def main() -> None:
    """Runs the benchmark."""
    plan, options, runs_file = _parse()
    title = f"GraphSAGE on {plan.hosts} emulated hosts, {plan.num_ranks} ranks"
    report = Report(title, options)
    try:
        with tempfile.TemporaryDirectory() as work:
            runs = run_all(plan, Path(work), report)
    except GnnflowError as error:
        sys.exit(f"benchmarks.cluster: {error}")
    for row in rows(runs):
        report.add(row)
    report.finish()
    write_json(runs_file, [asdict(run) for run in runs])


if __name__ == "__main__":
    main()
