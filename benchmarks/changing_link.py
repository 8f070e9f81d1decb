"""Runs whose conditions change in the middle and change back: policies against fixed settings.

    python -m benchmarks.changing_link [--quick] [--json FILE]

trains GraphSAGE on two emulated hosts. For the middle third of the epochs the links run at a
fraction of their rate (rows `slow_link/POLICY`), or the core of one host is also busy with
something else, so that its rank falls behind (`busy_core/POLICY`, not with --quick). Policies may
send rows shorter and join exchanges meanwhile (`--steer-wire int8 --steer-exchange-every 4`):
`bandit` learns when, `classifier` and `llm` leave that to the rule of `auto`, `none` has no say.
`llm` takes part where `gnnflow-policy get-model` has been run. Rows are seconds of all epochs
against the same run with its settings fixed (`static`), and against rows fixed to int8, which is
what knowing the link beforehand would choose.
"""

import itertools
import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from benchmarks._commands import gnnflow_command, option_words, summary_of
from benchmarks._harness import Options, Report, Row, run_benchmark
from benchmarks.cluster_runs import Workload, make_parts
from benchmarks.emulated_hosts import (
    EmulatedHosts,
    EmulationError,
    EmulationUnavailableError,
    emulated_hosts,
    run_mpi,
)
from benchmarks.hyperparameters import HYPERPARAMETERS
from gnnflow.errors import GnnflowError
from gnnflow.policies.llm.model.model_files import SMALL_MODEL, locate_model

_STEERED = ("--steer-wire", "int8", "--steer-exchange-every", "4", "--decide-every", "4")
FIXED = {"static": (), "int8": ("--wire-dtype", "int8")}
POLICIES = {
    "auto": ("--policy", "auto", *_STEERED),
    "bandit": ("--policy", "bandit", *_STEERED),
    "classifier": ("--policy", "classifier", *_STEERED),
    "llm": ("--policy", "llm", *_STEERED),
    "none": ("--policy", "none"),
}
_QUICK_POLICIES = ("auto", "bandit")
_POLL_S = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangePlan:
    """The run: a third of its epochs at the full rate, one at the slow rate, one at the full."""

    workload: Workload
    epochs_per_phase: int
    rate: str = "1gbit"
    slow_rate: str = "50mbit"
    trouble: Literal["slow_link", "busy_core"] = "slow_link"

    @property
    def num_epochs(self) -> int:
        """Epochs of the run."""
        return 3 * self.epochs_per_phase


@dataclass(frozen=True, kw_only=True, slots=True)
class PhasedOutcome:
    """What a run took, in the phases of the link."""

    phase_s: tuple[float, float, float]
    """Seconds of the epochs before, during and after the slow time."""
    moved_bytes: int
    test_accuracy: float | None
    """None without test seeds."""
    wire_share: float
    """Share of decisions in force that sent rows shorter than stored."""

    @property
    def total_s(self) -> float:
        """Seconds of all epochs."""
        return sum(self.phase_s)


class _Troublemaker(threading.Thread):
    """Makes the trouble of a plan while the run is in its middle, as its metrics say."""

    def __init__(self, hosts: EmulatedHosts, plan: ChangePlan, metrics: Path) -> None:
        super().__init__(daemon=True)
        self._hosts, self._plan, self._metrics = hosts, plan, metrics
        self.ended = threading.Event()

    def run(self) -> None:
        plan, hosts = self._plan, self._hosts
        if not self._reaches(plan.epochs_per_phase - 1):
            return
        if plan.trouble == "slow_link":
            hosts.set_rate(plan.slow_rate)
            self._reaches(2 * plan.epochs_per_phase - 1)
            hosts.set_rate(plan.rate)
        else:
            program = hosts.start(hosts.names[-1], ["sh", "-c", "while :; do :; done"])
            self._reaches(2 * plan.epochs_per_phase - 1)
            os.killpg(program.pid, signal.SIGKILL)
            program.wait()

    def _reaches(self, epoch: int) -> bool:
        """Waits for the end of an epoch; False if the run ended before."""
        while self._last_epoch() < epoch:
            if self.ended.wait(_POLL_S):
                return False
        return True

    def _last_epoch(self) -> int:
        if not self._metrics.exists():
            return -1
        lines = self._metrics.read_text().splitlines()
        return int(json.loads(lines[-1])["epoch"]) if lines else -1


def train(
    hosts: EmulatedHosts, plan: ChangePlan, parts: Path, words: Sequence[str]
) -> PhasedOutcome:
    """Trains once while conditions change.

    Raises:
        EmulationError: If the training fails.
    """
    workload = plan.workload
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        options = workload.options() | {"epochs": plan.num_epochs, "threads": 1, "out": out}
        command = [*gnnflow_command("train"), str(parts), *option_words(options), *words]
        changer = _Troublemaker(hosts, plan, out / "metrics.jsonl")
        changer.start()
        run = run_mpi(hosts, 1, command)
        changer.ended.set()
        changer.join()
        if run.returncode != 0:
            raise EmulationError(f"gnnflow-train failed; it last wrote: {run.output[-1000:]}")
        summary = summary_of(out)
        shares = [_wire_share(path) for path in out.glob("decisions-rank*.jsonl")]
    return outcome_of(summary, sum(shares) / max(len(shares), 1), plan.epochs_per_phase)


def outcome_of(summary: dict[str, Any], wire_share: float, epochs_per_phase: int) -> PhasedOutcome:
    """Reads a run's summary."""
    times = [epoch["epoch_time_s"] for epoch in summary["epochs"]]
    first, second = epochs_per_phase, 2 * epochs_per_phase
    return PhasedOutcome(
        phase_s=(sum(times[:first]), sum(times[first:second]), sum(times[second:])),
        moved_bytes=summary["volume_bytes"],
        test_accuracy=summary["test_accuracy"],
        wire_share=wire_share,
    )


def rows(trouble: str, outcomes: dict[str, PhasedOutcome]) -> list[Row]:
    """The rows of one kind of trouble: every policy against every fixed setting that ran."""
    found = []
    for policy in outcomes.keys() - FIXED.keys():
        ours = outcomes[policy]
        for fixed in FIXED.keys() & outcomes.keys():
            theirs = outcomes[fixed]
            facts: dict[str, float | str] = {}
            for side, outcome in (("our", ours), ("their", theirs)):
                before, slow, after = outcome.phase_s
                facts |= {
                    f"{side}_seconds_before_slow_after": f"{before:.2f}, {slow:.2f}, {after:.2f}",
                    f"{side}_megabytes": outcome.moved_bytes / 1e6,
                }
                if outcome.test_accuracy is not None:
                    facts[f"{side}_test_accuracy"] = outcome.test_accuracy
            facts["share_of_decisions_with_shorter_rows"] = ours.wire_share
            found.append(
                Row(
                    name=f"{trouble}/{policy}",
                    ours=ours.total_s,
                    theirs=theirs.total_s,
                    unit="s",
                    against="settings fixed" if fixed == "static" else f"rows fixed to {fixed}",
                    facts=facts,
                )
            )
    return sorted(found, key=lambda row: (row.name, row.against))


def _wire_share(path: Path) -> float:
    states = [json.loads(line)["observation"]["state"] for line in path.read_text().splitlines()]
    return sum(state["wire_dtype"] != "stored" for state in states) / max(len(states), 1)


def _measure(plan: ChangePlan, names: Sequence[str], report: Report) -> dict[str, PhasedOutcome]:
    outcomes = {}
    with tempfile.TemporaryDirectory() as folder:
        parts = Path(folder) / "parts"
        make_parts(plan.workload, 2, 2, parts)
        with emulated_hosts(2, rate=plan.rate, cpus_per_host=1) as hosts:
            for name in names:
                began = time.monotonic()
                try:
                    outcomes[name] = train(hosts, plan, parts, (FIXED | POLICIES)[name])
                except EmulationError as error:
                    report.absent(f"{name}, {plan.trouble}", str(error))
                    continue
                took = f"{time.monotonic() - began:.0f} s in all"
                report.say(f"{plan.trouble}, {name}: {outcomes[name]}, {took}")
    return outcomes


def compare(options: Options, report: Report) -> None:
    """Adds the rows of every kind of trouble."""
    graph = "sbm:vertices=20000,edges=145000,classes=16,within=0.78,features=128,train=0.5"
    if options.quick:
        hyper = replace(HYPERPARAMETERS, fanout=(10, 5), batch_size=125, hidden=64)
        workload = Workload(graph=graph, hyperparameters=hyper)
        plans = [ChangePlan(workload=workload, epochs_per_phase=2)]
        names = [*FIXED, *_QUICK_POLICIES]
    else:
        hyper = replace(HYPERPARAMETERS, fanout=(10, 5), batch_size=100, hidden=64)
        workload = Workload(graph=graph, hyperparameters=hyper)
        plans = [
            ChangePlan(workload=workload, epochs_per_phase=4),
            ChangePlan(workload=workload, epochs_per_phase=4, trouble="busy_core"),
        ]
        names = [*FIXED, *POLICIES]
    if "llm" in names:
        try:
            locate_model(SMALL_MODEL)
        except GnnflowError as error:
            names.remove("llm")
            report.absent("llm", str(error))
    try:
        found = [rows(plan.trouble, _measure(plan, names, report)) for plan in plans]
    except EmulationUnavailableError as reason:
        report.absent("fixed settings", str(reason))
        return
    for row in itertools.chain(*found):
        report.add(row)


if __name__ == "__main__":
    run_benchmark("benchmarks.changing_link", __doc__, "Conditions that change", compare)
