"""Test accuracy with each draw of neighbours, at the same number of epochs.

    python -m benchmarks.draws [--quick] [--json FILE] [--threads 2]

Rows `draws/GRAPH/DRAW` compare the mean test accuracy over five seeds with that of the independent
draw, each run at its best validation accuracy within the same epochs (`last`: after the last one),
with the same model, seeds of minibatches and optimizer. `dependent-K` renews a source's key every K
steps, `epoch` once in an epoch and `never` not at all; `stored` has a stored first hop in place of
the last hop. A draw costs accuracy where it is worse by more than the spread of the seeds. One
process trains: draws do not depend on how a graph is cut (benchmarks.cache has the rows that they
move).

`--quick` takes two seeds, two epochs and one graph.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from benchmarks import _commands as commands
from benchmarks._harness import Options, Report, run_benchmark
from benchmarks.accuracy import Accuracies, AccuracyRow
from gnnflow.partition import read_manifest

HIDDEN = 128
NEVER = (1 << 31) - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """A graph and how it is trained on."""

    name: str
    source: tuple[str, ...]
    """Words of gnnflow-partition that name it."""
    fanout: str
    batch_size: int
    epochs: int


WORKLOADS = (
    Workload(
        name="debian-packages",
        source=("--dataset", "debian-packages"),
        fanout="10,10",
        batch_size=512,
        epochs=8,
    ),
    Workload(
        name="sbm",
        source=("--generate", "sbm:vertices=60000,edges=900000"),
        fanout="10,10",
        batch_size=128,
        epochs=8,
    ),
    Workload(
        name="rmat",
        source=("--generate", "rmat:vertices=65536,edges=1000000"),
        fanout="10,10",
        batch_size=128,
        epochs=8,
    ),
)


@dataclass(frozen=True, slots=True)
class Runs(Accuracies):
    """Accuracies of a draw."""

    last: float = 0.0
    """Mean test accuracy after the last epoch."""


def draws_of(steps_of_an_epoch: int) -> dict[str, Mapping[str, object]]:
    """Options of the draws that are compared, by name."""
    named = {f"dependent-{every}": every for every in (4, 16, 64)}
    named |= {"dependent-epoch": steps_of_an_epoch, "dependent-never": NEVER}
    return {
        "independent": {},
        "shared": {"draw": "shared"},
        **{name: {"draw": "dependent", "draw-every": every} for name, every in named.items()},
        "stored": {"first-hop": "stored"},
        "stored-dependent-16": {"first-hop": "stored", "draw": "dependent", "draw-every": 16},
    }


def accuracies_of(
    parts: Path, workload: Workload, draw: Mapping[str, object], seeds: range, options: Options
) -> Runs:
    """Trains once for each seed."""
    found, last = [], []
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="run-", dir=parts.parent) as out:
            summary = commands.train(
                parts,
                Path(out) / "run",
                {
                    "epochs": 2 if options.quick else workload.epochs,
                    "batch-size": workload.batch_size,
                    "fanout": workload.fanout,
                    "hidden": HIDDEN,
                    "seed": seed,
                    "threads": options.threads,
                    **draw,
                },
            )
        best = max(summary["epochs"], key=lambda epoch: epoch["val_accuracy"])
        found.append(best["test_accuracy"])
        last.append(summary["epochs"][-1]["test_accuracy"])
    return Runs(found, last=mean(last))


def compare(options: Options, report: Report) -> None:
    """Adds the rows of all graphs."""
    seeds = range(2) if options.quick else range(5)
    for workload in WORKLOADS[:1] if options.quick else WORKLOADS:
        with tempfile.TemporaryDirectory(prefix="gnnflow-") as made:
            parts = Path(made) / "parts"
            commands.make_parts(parts, 1, *workload.source)
            compare_draws(parts, workload, seeds, options, report)


def compare_draws(
    parts: Path, workload: Workload, seeds: range, options: Options, report: Report
) -> None:
    """Adds the rows of one graph."""
    num_seeds = sum(read_manifest(parts).num_seeds("train"))
    draws = draws_of(-(-num_seeds // workload.batch_size))
    if options.quick:
        draws = {name: draws[name] for name in ("independent", "dependent-16", "stored")}
    found = {
        name: accuracies_of(parts, workload, draw, seeds, options) for name, draw in draws.items()
    }
    plain = found.pop("independent")
    for name, ours in found.items():
        report.add(
            AccuracyRow(
                name=f"draws/{workload.name}/{name}",
                ours=mean(ours.test),
                theirs=mean(plain.test),
                unit="accuracy",
                against="independent",
                facts={
                    "our_spread": ours.spread,
                    "their_spread": plain.spread,
                    "our_last": ours.last,
                    "their_last": plain.last,
                },
            )
        )


if __name__ == "__main__":
    run_benchmark("benchmarks.draws", __doc__, "Test accuracy by draw", compare)
