"""Epoch times that `gnnflow-replay --predict` estimates, against runs on emulated hosts.

    python -m benchmarks.epoch_model [--quick] [--json FILE]

One run is recorded on two hosts at 1 Gbit/s with a cache of 25 % of the halo. From its trace the
model estimates the epoch without a cache, with larger ones and on slower links; then each of these
is run. Rows are `epoch_model/RATE/BUDGET` with the estimate as `ours` and the run as `theirs`: a
ratio of 1 would be exact. Estimates for the recorded conditions themselves are among them.
"""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks._commands import gnnflow_command, run_command
from benchmarks._harness import Options, Report, Row, over, run_benchmark
from benchmarks.cluster_runs import Run, Setting, Workload, make_parts, run_gnnflow
from benchmarks.emulated_hosts import emulated_hosts

HOSTS = 2
RECORDED_RATE, RECORDED_BUDGET = "1gbit", 25
RATES = {"1gbit": "1Gbit", "200mbit": "200Mbit", "100mbit": "100Mbit"}
"""Links by name for the kernel, and for `--predict`."""
BUDGETS = (0, 25, 50)
QUICK_CASES = (("1gbit", 0), ("200mbit", 25))


def run(rate: str, budget: int, parts: Path, workload: Workload, trace: Path | None = None) -> Run:
    """Trains on emulated hosts with a cache of some per cent of the halo."""
    words = ("--cache-fraction", str(budget / 100))
    if trace is not None:
        words += ("--trace", str(trace))
    with emulated_hosts(HOSTS, rate=rate, cpus_per_host=1) as hosts:
        setting = Setting(name=f"{budget} %", words=words)
        return run_gnnflow(hosts, setting, parts, workload, HOSTS, threads=1)


def estimates(trace: Path, rate: str) -> dict[int, float]:
    """Seconds of an epoch at a rate, by budget in per cent, as the command prints them."""
    out = trace / f"{rate}.json"
    budgets = ",".join(str(budget) for budget in BUDGETS if budget)
    words = ["--budgets", budgets, "--scorers", "lookahead", "--json", str(out)]
    if rate != RECORDED_RATE:
        words += ["--predict", f"bandwidth={RATES[rate]}"]
    else:
        words += ["--predict", f"ranks={HOSTS}"]
    run_command([*gnnflow_command("replay"), trace, *words], "gnnflow-replay")
    predictions = json.loads(out.read_text())["predictions"]
    return {each["budget_percent"]: each["epoch_s"] for each in predictions}


def run_cases(workload: Workload, quick: bool, work: Path, report: Report) -> None:
    """Records, estimates and runs all cases, and adds their rows."""
    parts, trace = work / "parts", work / "trace"
    make_parts(workload, HOSTS, HOSTS, parts)
    recorded = run(RECORDED_RATE, RECORDED_BUDGET, parts, workload, trace)
    cases = QUICK_CASES if quick else [(rate, budget) for rate in RATES for budget in BUDGETS]
    for rate, budget in cases:
        estimated_s = estimates(trace, rate)[budget]
        again = (rate, budget) == (RECORDED_RATE, RECORDED_BUDGET)
        measured = recorded if again else run(rate, budget, parts, workload)
        measured_s = measured.typical_epoch_time_s
        report.add(
            Row(
                name=f"epoch_model/{rate}/{budget}",
                ours=estimated_s,
                theirs=measured_s,
                unit="s/epoch",
                against="the run itself",
                facts={"off by per cent": 100 * (over(estimated_s, measured_s) - 1)},
            )
        )


def compare(options: Options, report: Report) -> None:
    """Adds the rows."""
    workload = Workload()
    if options.quick:
        small = "sbm:vertices=60000,edges=435000,classes=64,features=128"
        hyper = replace(workload.hyperparameters, epochs=3)
        workload = Workload(graph=small, hyperparameters=hyper)
    with tempfile.TemporaryDirectory() as work:
        run_cases(workload, options.quick, Path(work), report)


if __name__ == "__main__":
    run_benchmark(
        "benchmarks.epoch_model", __doc__, "Estimated epochs on two emulated hosts", compare
    )
