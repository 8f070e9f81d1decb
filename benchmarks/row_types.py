"""Test accuracy with rows of features in fewer bits, stored or on the way, against float32.

    python -m benchmarks.row_types [--quick] [--json FILE] [--threads 2]

Two ranks train the GraphSAGE of `benchmarks.accuracy` on `debian-packages` for 5 epochs, with each
`--feature-dtype` of gnnflow-partition and each `--wire-dtype` of gnnflow-train, for two seeds (with
`--quick` one seed, one epoch and int8 only). Every run counts with the test accuracy at its best
validation accuracy. The facts give the spread of the seeds and the bytes of rows that moved.
"""

import tempfile
from pathlib import Path
from statistics import mean

from benchmarks._harness import Options, Report, run_benchmark
from benchmarks.accuracy import Accuracies, AccuracyRow, train_by_minibatches
from gnnflow.config import PartitionConfig
from gnnflow.datasets import load
from gnnflow.features.wire import WIRE_DTYPES
from gnnflow.partition import partition_graph
from gnnflow.partition.stored_rows import FeatureDtype

NUM_RANKS = 2
FEATURE_DTYPES: tuple[FeatureDtype, ...] = ("float16", "bfloat16", "int8")


def compare(options: Options, report: Report) -> None:
    """Adds a row for each type."""
    seeds, epochs = (range(1), 1) if options.quick else (range(2), 5)
    stored = FEATURE_DTYPES[-1:] if options.quick else FEATURE_DTYPES
    wired = WIRE_DTYPES[-1:] if options.quick else WIRE_DTYPES[1:]
    graph = load("debian-packages")
    with tempfile.TemporaryDirectory(prefix="gnnflow-") as made:
        root = Path(made)

        def train(feature_dtype: FeatureDtype, wire_dtype: str) -> Accuracies:
            folder = root / feature_dtype
            parts = folder / f"parts-{NUM_RANKS}"
            if not parts.exists():
                folder.mkdir()
                config = PartitionConfig(num_parts=NUM_RANKS, feature_dtype=feature_dtype)
                partition_graph(graph, parts, config)
            words = {"wire-dtype": wire_dtype}
            return train_by_minibatches(folder, NUM_RANKS, seeds, epochs, options.threads, words)

        theirs = train("stored", "stored")
        runs = {f"stored {name}": train(name, "stored") for name in stored}
        runs |= {f"wire {name}": train("stored", name) for name in wired}
    for name, ours in runs.items():
        report.add(
            AccuracyRow(
                name=f"row_types/{name}",
                ours=mean(ours.test),
                theirs=mean(theirs.test),
                unit="accuracy",
                against="float32",
                facts={
                    "our_spread": ours.spread,
                    "their_spread": theirs.spread,
                    "our_bytes_per_epoch": mean(ours.moved_bytes),
                    "their_bytes_per_epoch": mean(theirs.moved_bytes),
                },
            )
        )


if __name__ == "__main__":
    run_benchmark("benchmarks.row_types", __doc__, "Test accuracy with rows in fewer bits", compare)
