"""Raw graphs for the tests of partitions, and what a partition of one must hold."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gnnflow.config import PartitionConfig
from gnnflow.datasets import ArrayRows, RawGraph
from gnnflow.partition import GraphPartition, open_partition, partition_graph

METHODS = ("metis", "random", "ldg", "mtkahypar")


def make_graph(
    num_vertices: int,
    num_edges: int,
    seed: int = 0,
    *,
    dtype: Any = np.int64,
    with_edge_attr: bool = True,
    num_features: int = 3,
) -> RawGraph:
    """A random directed multigraph with self loops, vertices without edges, and all arrays."""
    generator = np.random.default_rng(seed)
    # The upper third of the ids is never named by an edge.
    reach = max(1, 2 * num_vertices // 3)
    vertices = generator.permutation(num_vertices)
    bounds = sorted(generator.integers(1, num_vertices + 1, 3))
    splits = {
        name: np.sort(vertices[low:high]).astype(np.int64)
        for name, low, high in zip(("train", "val", "test"), [0, *bounds[:2]], bounds, strict=True)
    }
    arrays = {
        "x": generator.random((num_vertices, num_features), dtype=np.float32),
        "y": generator.integers(0, 4, num_vertices),
        "weight": generator.random(num_vertices),
        "flags": generator.random((num_vertices, 2)) < 0.5,
    }
    return RawGraph(
        name="made",
        source=f"random, seed {seed}",
        num_vertices=num_vertices,
        edges=generator.integers(0, reach, (2, num_edges)).astype(dtype),
        arrays={name: ArrayRows(array) for name, array in arrays.items()},
        splits=splits,
        num_classes=4,
        edge_attr=generator.random((num_edges, 2)) if with_edge_attr else None,
    )


def two_clusters(size: int) -> RawGraph:
    """Two cliques, joined by one edge."""
    ids = np.arange(size)
    clique = np.stack(np.meshgrid(ids, ids)).reshape(2, -1)
    clique = clique[:, clique[0] != clique[1]]
    edges = np.concatenate((clique, clique + size, [[0], [size]]), axis=1)
    bare = make_graph(2 * size, 0, with_edge_attr=False)
    return dataclasses.replace(bare, edges=edges.astype(np.int64), splits={})


@st.composite
def raw_graphs(draw: st.DrawFn) -> RawGraph:
    """Small graphs of every kind."""
    return make_graph(
        draw(st.integers(5, 40)),
        draw(st.integers(0, 120)),
        draw(st.integers(0, 1000)),
        dtype=draw(st.sampled_from([np.int32, np.int64])),
        with_edge_attr=draw(st.booleans()),
        num_features=draw(st.integers(0, 3)),
    )


def partitioned(
    graph: RawGraph, out: Path, *, verify: bool = True, **options: Any
) -> list[GraphPartition]:
    """Cuts a graph and opens all parts."""
    partition_graph(graph, out, PartitionConfig(**options))
    return [open_partition(out, part, verify=verify) for part in range(options["num_parts"])]


def in_edges(edges: np.ndarray, vertex: int) -> tuple[list[int], list[int]]:
    """Sources and positions of the edges into a vertex, in input order: the plain way."""
    positions = [i for i, destination in enumerate(edges[1].tolist()) if destination == vertex]
    return [int(edges[0, i]) for i in positions], positions
