"""One measured partitioning, in a process of its own so that its memory is its own.

    python -m benchmarks._partition_side GRAPH METHOD OUT

Prints a line of JSON. `METHOD` is one of gnnflow-partition's, or `metis-alone`: METIS called on an
adjacency that lies ready.
"""

import os
import sys
from pathlib import Path
from time import perf_counter

import numpy as np

from gnnflow.config import PartitionConfig
from gnnflow.datasets import ArrayRows, RawGraph
from gnnflow.files.json_text import to_json_text
from gnnflow.partition import partition_graph
from gnnflow.partition.adjacency import build_adjacency
from gnnflow.partition.csc import count_in_degrees
from gnnflow.partition.cut import IMBALANCE
from gnnflow.partition.metis import run_metis

NUM_PARTS = 4
SPLITS = ("train", "val", "test")


def open_graph(folder: Path) -> RawGraph:
    """Maps the files that the benchmark wrote."""
    labels = np.load(folder / "y.npy", mmap_mode="r", allow_pickle=False)
    features = np.load(folder / "x.npy", mmap_mode="r", allow_pickle=False)
    return RawGraph(
        name=folder.name,
        source="benchmark",
        num_vertices=len(labels),
        edges=np.load(folder / "edges.npy", mmap_mode="r", allow_pickle=False),
        arrays={"x": ArrayRows(features), "y": ArrayRows(labels)},
        splits={name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in SPLITS},
        num_classes=int(labels.max()) + 1,
    )


def partition(graph: RawGraph, method: str, out: Path) -> dict[str, object]:
    """Cuts and writes the graph."""
    begin = perf_counter()
    config = PartitionConfig(num_parts=NUM_PARTS, method=method)  # type: ignore[arg-type]
    report = partition_graph(graph, out, config)
    return {
        "total_s": perf_counter() - begin,
        "metis_s": report.metis_s,
        "stage_s": dict(report.stage_s),
        "edge_cut": report.edge_cut,
        "balance": max(report.balance[name] for name in ("vertices", "edges", "train")),
    }


def metis_alone(graph: RawGraph, out: Path) -> dict[str, object]:
    """Calls METIS with the same constraints, all it needs in memory, on default settings."""
    os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=0"
    out.mkdir()
    adjacency = build_adjacency(graph.edges, graph.num_vertices, out)
    is_train = np.zeros(graph.num_vertices, dtype=np.int32)
    is_train[graph.splits["train"]] = 1
    in_degree = count_in_degrees(graph.edges, graph.num_vertices)
    columns = [np.ones_like(is_train), in_degree.astype(np.int32), is_train]
    run = run_metis(
        adjacency,
        np.stack(columns, axis=1),
        NUM_PARTS,
        seed=0,
        imbalance=IMBALANCE,
        scratch=out,
        on_disk=False,
    )
    return {"metis_s": run.metis_s, "peak_memory_bytes": run.peak_memory_bytes}


if __name__ == "__main__":
    graph_folder, method_name, out_folder = sys.argv[1:]
    raw_graph = open_graph(Path(graph_folder))
    if method_name == "metis-alone":
        result = metis_alone(raw_graph, Path(out_folder))
    else:
        result = partition(raw_graph, method_name, Path(out_folder))
    print(to_json_text(result))
