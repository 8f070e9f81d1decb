"""Partitioning ten million vertices and a hundred million edges from files: time, memory, cut.

    python -m benchmarks.partition_large [--quick] [--json FILE]

An R-MAT graph with 64 features lies in .npy files, 4.2 GB of them (with --quick a million vertices
and 10 million edges). Each method reads, checks, cuts and writes it in a process of its own, whose
memory is looked at ten times a second, mapped pages of the files included. `ours` is the method,
`theirs` is METIS; for memory, `theirs` is the size of the input: features go from file to file, so
a ratio above 1 means that they were never in memory together.
"""

import tempfile
from pathlib import Path

from benchmarks._harness import Options, Report, Row, run_benchmark
from benchmarks.partition import measure, write_graph

METHODS = ("metis", "ldg")
LARGE = "rmat:vertices=1e7,edges=1e8,features=64"
QUICK = "rmat:vertices=1e6,edges=1e7,features=64"


def compare(options: Options, report: Report) -> None:
    """Adds the rows of both methods."""
    with tempfile.TemporaryDirectory(prefix="gnnflow-partition-") as folder:
        graph = Path(folder) / "graph"
        input_bytes = write_graph(QUICK if options.quick else LARGE, graph)
        runs = {method: measure(graph, method, graph.with_name("out")) for method in METHODS}
    for method, run in runs.items():
        report.add(
            Row(
                name=f"partition_large/{method}/time",
                ours=run["total_s"],
                theirs=runs["metis"]["total_s"],
                unit="s",
                against="--method metis",
                facts={"edge cut": run["edge_cut"], "largest part over mean": run["balance"]},
            )
        )
        report.add(
            Row(
                name=f"partition_large/{method}/memory",
                ours=run["peak_bytes"] / 2**30,
                theirs=input_bytes / 2**30,
                unit="GiB",
                against="the input files",
            )
        )


if __name__ == "__main__":
    run_benchmark("benchmarks.partition_large", __doc__, "Partitioning at size", compare)
