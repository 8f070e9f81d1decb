"""What a stored first hop costs, and what an epoch gains by it.

    python -m benchmarks.first_hop [--quick] [--json FILE] [--threads 2]

Row `first_hop/GRAPH/computing` compares the seconds in which the ranks of a job compute the stored
first hop with two epochs of training without it; row `first_hop/GRAPH/epoch` compares an epoch with
one without; both in a job of 4 ranks with messages between all of them. Below: after how many
epochs storing has paid, the memory that computing took a rank with the default of
`--first-hop-bytes` and with an eighth of it, and bytes on disk beside those of the features.

`--quick` takes one graph, a smaller one.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import _commands as commands
from benchmarks import _first_hop_side
from benchmarks._harness import Options, Report, Row, over, run_benchmark
from gnnflow.config import CHUNK_BYTES

NUM_RANKS = 4
EPOCHS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """A graph and how it is trained on."""

    name: str
    source: tuple[str, ...]
    """Words of gnnflow-partition that name it."""
    fanout: str
    batch_size: int


WORKLOADS = (
    Workload(
        name="debian-packages",
        source=("--dataset", "debian-packages"),
        fanout="10,10",
        batch_size=256,
    ),
    Workload(
        name="sbm",
        source=("--generate", "sbm:vertices=300000,edges=4400000"),
        fanout="25,10",
        batch_size=500,
    ),
    Workload(
        name="rmat",
        source=("--generate", "rmat:vertices=1000000,edges=15000000"),
        fanout="10,10",
        batch_size=2000,
    ),
)
QUICK = Workload(
    name="sbm-60k",
    source=("--generate", "sbm:vertices=60000,edges=900000"),
    fanout="25,10",
    batch_size=250,
)


def epoch_seconds(parts: Path, out: Path, workload: Workload, first_hop: str) -> float:
    """The median epoch of a run, its first one left out."""
    options: dict[str, object] = {
        "ranks": NUM_RANKS,
        "threads": 1,
        "transport": "alltoall",
        "epochs": EPOCHS,
        "eval-every": 0,
        "fanout": workload.fanout,
        "batch-size": workload.batch_size,
        "first-hop": first_hop,
    }
    summary = commands.train(parts, out, options)
    return median(epoch["epoch_time_s"] for epoch in summary["epochs"][1:])


def compare_workload(workload: Workload, report: Report) -> None:
    """Adds the rows of one graph."""
    with tempfile.TemporaryDirectory(prefix="gnnflow-") as made:
        parts = Path(made) / "parts"
        commands.make_parts(parts, NUM_RANKS, *workload.source)
        little = _first_hop_side.measure(parts, NUM_RANKS, "sum", CHUNK_BYTES // 8)
        found = _first_hop_side.measure(parts, NUM_RANKS, "mean", CHUNK_BYTES)
        sampled_s = epoch_seconds(parts, Path(made) / "sampled", workload, "sampled")
        stored_s = epoch_seconds(parts, Path(made) / "stored", workload, "stored")
        features_bytes = sum(file.stat().st_size for file in parts.glob("*/x.npy"))
    gain_s = sampled_s - stored_s
    facts: dict[str, float | str] = {
        "pays_from_epoch": found["seconds"] / gain_s if gain_s > 0 else "never",
        "memory_of_a_rank": found["memory_bytes"],
        "memory_with_an_eighth": little["memory_bytes"],
        "disk_over_features": over(found["disk_bytes"], features_bytes),
    }
    report.add(
        Row(
            name=f"first_hop/{workload.name}/computing",
            ours=found["seconds"],
            theirs=2 * sampled_s,
            unit="s",
            against="two epochs without it",
            facts=facts,
        )
    )
    report.add(
        Row(
            name=f"first_hop/{workload.name}/epoch",
            ours=stored_s,
            theirs=sampled_s,
            unit="s",
            against="an epoch without it",
        )
    )


def compare(options: Options, report: Report) -> None:
    """Adds the rows of all graphs."""
    for workload in (QUICK,) if options.quick else WORKLOADS:
        compare_workload(workload, report)


if __name__ == "__main__":
    run_benchmark("benchmarks.first_hop", __doc__, "Stored first hop", compare)
