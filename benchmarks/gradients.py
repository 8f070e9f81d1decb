"""Test accuracy where gradients cross between ranks in half the bytes.

    python -m benchmarks.gradients [--quick] [--json FILE] [--threads 2]

Row `gradients/debian-packages/bfloat16` compares the mean test accuracy over five seeds of two
ranks, each run at its best validation accuracy, with `--gradient-dtype bfloat16` and without.
(`python -m benchmarks.cluster` has what it gains on slow links: `cluster/RATE/stored` against the
fastest setting.)

`--quick` takes two seeds and two epochs.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import mean

from benchmarks import _commands as commands
from benchmarks._harness import Options, Report, run_benchmark
from benchmarks.accuracy import AccuracyRow
from benchmarks.draws import WORKLOADS, accuracies_of

NUM_RANKS = 2


def compare(options: Options, report: Report) -> None:
    """Adds the row."""
    workload, seeds = WORKLOADS[0], range(2) if options.quick else range(5)
    workload = replace(workload, batch_size=workload.batch_size // NUM_RANKS)
    alone = replace(options, threads=max(1, options.threads // NUM_RANKS))
    with tempfile.TemporaryDirectory(prefix="gnnflow-") as made:
        parts = Path(made) / "parts"
        commands.make_parts(parts, NUM_RANKS, *workload.source)
        found = {
            dtype: accuracies_of(
                parts, workload, {"ranks": NUM_RANKS, "gradient-dtype": dtype}, seeds, alone
            )
            for dtype in ("float32", "bfloat16")
        }
    ours, theirs = found["bfloat16"], found["float32"]
    report.add(
        AccuracyRow(
            name=f"gradients/{workload.name}/bfloat16",
            ours=mean(ours.test),
            theirs=mean(theirs.test),
            unit="accuracy",
            against="float32",
            facts={"our_spread": ours.spread, "their_spread": theirs.spread},
        )
    )


if __name__ == "__main__":
    run_benchmark("benchmarks.gradients", __doc__, "Gradients in half the bytes", compare)
