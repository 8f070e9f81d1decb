"""The largest graph that is cut and trained here: what it takes."""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks._commands import train
from benchmarks.scaling.estimated import partition_cost
from gnnflow.partition import read_manifest

GRAPH = "rmat:vertices=1e7,edges=1e8,features=64,train=0.002"
QUICK_GRAPH = "rmat:vertices=2e5,edges=2e6,features=64,train=0.02"
METHOD = "ldg"
NUM_RANKS = 2


def cut_and_train(graph: str) -> dict[str, Any]:
    """Cuts a graph into a part for each rank, trains two epochs and evaluates all of it exactly.

    Raises:
        CommandError: If a command fails.
    """
    with tempfile.TemporaryDirectory(prefix="gnnflow-") as made:
        parts, out = Path(made) / "parts", Path(made) / "run"
        cost = partition_cost(graph, NUM_RANKS, parts, METHOD)
        manifest = read_manifest(parts)
        options = {"ranks": NUM_RANKS, "transport": "alltoall", "epochs": 2, "eval-every": 0}
        options |= {"batch-size": 500, "fanout": "10,10", "hidden": 64}
        summary = train(parts, out, options)
    epochs = summary["epochs"]
    return {
        "graph": graph,
        "vertices": manifest.num_vertices,
        "edges": manifest.num_edges,
        "method": METHOD,
        "ranks": NUM_RANKS,
        "edge_cut": manifest.edge_cut,
        **cost,
        "train_seeds": sum(manifest.num_seeds("train")),
        "epoch_s": epochs[-1]["epoch_time_s"],
        "total_s": summary["total_time_s"],
        "evaluation_s": summary["total_time_s"] - sum(epoch["epoch_time_s"] for epoch in epochs),
        "rank_peak_memory_bytes": summary["peak_memory_bytes"],
        "hit_rate": summary["hit_rate"],
    }
