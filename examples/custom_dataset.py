"""Partitions a graph of your own, built in memory.

    python examples/custom_dataset.py --out my-parts
    gnnflow-train my-parts --ranks 2

The graph: papers of three fields that cite earlier papers, mostly of their own field.
"""

import argparse
from pathlib import Path

import numpy as np

from gnnflow.config import PartitionConfig
from gnnflow.datasets import ArrayRows, RawGraph
from gnnflow.partition import partition_graph

NUM_FIELDS = 3
NUM_FEATURES = 32
CITATIONS = 8


def build_graph(num_papers: int, seed: int = 0) -> RawGraph:
    """Makes the graph; put your own arrays here."""
    generator = np.random.default_rng(seed)
    field = generator.integers(NUM_FIELDS, size=num_papers)
    centers = generator.standard_normal((NUM_FIELDS, NUM_FEATURES))
    x = centers[field] + 3 * generator.standard_normal((num_papers, NUM_FEATURES))

    # Draw earlier papers, and keep a citation across fields only now and then.
    citing = np.repeat(np.arange(1, num_papers), CITATIONS)
    cited = (generator.random(len(citing)) * citing).astype(np.int64)
    kept = (field[citing] == field[cited]) | (generator.random(len(citing)) < 0.1)

    order = generator.permutation(num_papers)
    train, val, test = np.split(order, [num_papers // 2, num_papers * 3 // 4])
    return RawGraph(
        name="papers",
        source="examples/custom_dataset.py",
        num_vertices=num_papers,
        edges=np.stack([cited[kept], citing[kept]]),  # messages flow from cited to citing
        arrays={
            "x": ArrayRows(x.astype(np.float32)),
            "y": ArrayRows(field),
            "year": ArrayRows(np.arange(num_papers) // 1000),  # any further per-vertex array
        },
        splits={"train": np.sort(train), "val": np.sort(val), "test": np.sort(test)},
        num_classes=NUM_FIELDS,
    )


def main() -> None:
    """Builds the graph, partitions it and prints how good the cut is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("my-parts"))
    parser.add_argument("--num-papers", type=int, default=10_000)
    parser.add_argument("--num-parts", type=int, default=2)
    options = parser.parse_args()
    graph = build_graph(options.num_papers)
    config = PartitionConfig(num_parts=options.num_parts, undirected=True)
    report = partition_graph(graph, options.out, config)
    print(
        f"{options.out}: {graph.num_vertices} vertices in {report.num_parts} parts, "
        f"{report.edge_cut:.1%} of the edges cut"
    )


if __name__ == "__main__":
    main()
