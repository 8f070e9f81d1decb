"""Rows delivered by the feature store between two processes, against what the machine can do.

    python -m benchmarks.feature_store [--quick] [--json FILE] [--threads 2]

Both processes fetch random rows of the other's part at the same time (or one of them: `one way`).
The threads are shared between the two.

`alltoall` and `rma` are set against a plain all-to-all-v of the same bytes, which moves bytes that
lie ready and gathers nothing, and `alltoall` also against the same fetch in phases: exchange ids,
gather, exchange rows. `bfloat16` and `int8` are the same rows with fewer bits on the way, counted
as delivered, against `alltoall`. `shared` reads the rows of the other process from its mapped
file, against a local gather of as many rows.

`bound` is what the two halves of the work allow, each measured alone: an owner has to gather rows
in random order, part by part into its cache, and the bytes have to cross. With a core for each
process and rows both ways, each core does both, one after the other, so the times add up. One way
one process gathers while the other receives, so the slower half decides. `alltoall-of-bound`
is the share of it that the store reaches. `gather` is a local gather of as many rows by both
processes at once, without any message: where that is slower than a plain exchange of bytes that lie
ready, no store of random rows can keep up with the exchange.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks._commands import run_ranks
from benchmarks._harness import Options, Report, Row, run_benchmark

COMPARISONS = (
    ("alltoall", "alltoall", "plain", "plain all-to-all-v"),
    ("alltoall-one-way", "alltoall one way", "plain one way", "plain all-to-all-v"),
    ("alltoall", "alltoall", "in phases", "ids, gather, rows in turn"),
    ("gather", "gather", "plain", "plain all-to-all-v"),
    ("bound", "bound", "plain", "plain all-to-all-v"),
    ("alltoall-of-bound", "alltoall", "bound", "gather, then exchange"),
    ("bound-one-way", "bound one way", "plain one way", "plain all-to-all-v"),
    ("alltoall-one-way-of-bound", "alltoall one way", "bound one way", "gather or exchange"),
    ("rma", "rma", "plain", "plain all-to-all-v"),
    ("bfloat16", "bfloat16", "alltoall", "rows as stored"),
    ("int8", "int8", "alltoall", "rows as stored"),
    ("shared", "shared", "local", "local gather"),
)
MIB = 1 << 20


def measure(options: Options) -> tuple[Mapping[str, Mapping[str, float]], str]:
    """Runs both ranks; returns rates in GB/s by row size and side, and the MPI library."""
    table_bytes, fetched_bytes = (128 * MIB, 16 * MIB) if options.quick else (512 * MIB, 64 * MIB)
    rounds = 5 if options.quick else 15
    with tempfile.TemporaryDirectory() as folder:
        for part in range(2):
            table = np.full(table_bytes // 4, part, dtype=np.float32)
            np.save(Path(folder) / f"part{part}.npy", table)
        words = [folder, rounds, fetched_bytes, max(1, options.threads // 2)]
        said = run_ranks(2, "benchmarks._feature_store_side", *words)
    result = json.loads(said.splitlines()[-1])
    return {size: with_bounds(rates) for size, rates in result["rates"].items()}, result["mpi"]


def with_bounds(rates: Mapping[str, float]) -> dict[str, float]:
    """Adds what the halves of the work allow together."""
    return {
        **rates,
        "bound": 1 / (1 / rates["parts"] + 1 / rates["plain"]),
        "bound one way": min(rates["parts one way"], rates["plain one way"]),
    }


def compare(options: Options, report: Report) -> None:
    """Adds the comparisons of each row size."""
    rates, mpi = measure(options)
    for row_bytes, of_side in rates.items():
        for name, ours, theirs, against in COMPARISONS:
            row = Row(
                name=f"feature_store/{name}/{row_bytes}",
                ours=of_side[ours],
                theirs=of_side[theirs],
                unit="GB/s",
                against=against,
            )
            report.add(row)
    report.say(f"MPI: {mpi}")


if __name__ == "__main__":
    run_benchmark("benchmarks.feature_store", __doc__, "Feature store", compare)
