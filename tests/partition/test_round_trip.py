"""What goes into a partition comes out of it."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_graphs import METHODS, in_edges, make_graph, partitioned, raw_graphs

from gnnflow.config import PartitionConfig
from gnnflow.datasets import RawGraph
from gnnflow.errors import ConfigError, PartitionFormatError
from gnnflow.partition import (
    GraphPartition,
    halo_topology,
    open_partition,
    partition_graph,
    read_manifest,
)

options = st.fixed_dictionaries(
    {
        "method": st.sampled_from(METHODS),
        "num_parts": st.integers(1, 5),
        "seed": st.integers(0, 3),
        "halo_hops": st.integers(0, 3),
    }
)


def original_ids(parts: list[GraphPartition]) -> np.ndarray:
    return np.concatenate([part.original_id for part in parts])


def array(graph: RawGraph, name: str) -> np.ndarray:
    return graph.arrays[name].rows(np.arange(graph.num_vertices))


@settings(max_examples=60, deadline=None)
@given(raw_graphs(), options)
def test_everything_survives(
    tmp_path_factory: pytest.TempPathFactory, graph: RawGraph, options: dict[str, Any]
) -> None:
    parts = partitioned(graph, tmp_path_factory.mktemp("parts") / "out", **options)
    to_original = original_ids(parts)
    assert sorted(to_original) == list(range(graph.num_vertices))
    assert sum(part.num_edges for part in parts) == graph.num_edges
    for number, part in enumerate(parts):
        assert part.part_id == number
        assert part.num_vertices >= 1
        assert (np.diff(part.original_id) > 0).all()
        assert part.first_id == part.book.range(number)[0]
        for local, vertex in enumerate(part.original_id.tolist()):
            sources, positions = in_edges(graph.edges, vertex)
            entries = slice(part.indptr[local], part.indptr[local + 1])
            assert to_original[part.indices[entries]].tolist() == sources
            if graph.edge_attr is None:
                assert part.edge_id is None and part.edge_attr is None
            else:
                assert part.edge_id is not None and part.edge_attr is not None
                assert part.edge_id[entries].tolist() == positions
                assert np.array_equal(part.edge_attr[entries], graph.edge_attr[positions])
        assert set(part.arrays) == set(graph.arrays)
        for name, rows in part.arrays.items():
            assert rows.dtype == graph.arrays[name].dtype
            assert np.array_equal(rows, array(graph, name)[part.original_id])
        assert set(part.splits) == set(graph.splits)
        for name, local_ids in part.splits.items():
            mine = np.intersect1d(graph.splits[name], part.original_id)
            assert part.original_id[local_ids].tolist() == mine.tolist()
        check_halo(graph, part, parts)
        check_halo_topology(graph, part, to_original, options["halo_hops"])


def check_halo(graph: RawGraph, part: GraphPartition, parts: list[GraphPartition]) -> None:
    owners = part.book.owner(part.indices)
    expected = np.unique(part.indices[owners != part.part_id])
    assert part.halo.tolist() == expected.tolist()
    assert part.halo_owner.tolist() == part.book.owner(part.halo).tolist()
    in_degree = np.bincount(graph.edges[1], minlength=graph.num_vertices)
    assert part.halo_degree.tolist() == in_degree[original_ids(parts)[part.halo]].tolist()


def check_halo_topology(
    graph: RawGraph, part: GraphPartition, to_original: np.ndarray, halo_hops: int
) -> None:
    if halo_hops == 0:
        assert part.halo_topology == []
        return
    reached = set(part.original_id.tolist())
    inner = frozenset(reached)
    for _ in range(halo_hops):
        into = np.isin(graph.edges[1], sorted(reached))
        reached |= set(graph.edges[0, into].tolist())
    (topology,) = part.halo_topology
    assert sorted(to_original[topology.vertex_ids]) == sorted(reached - inner)
    assert (np.diff(topology.vertex_ids) > 0).all()
    assert topology.original_id.tolist() == to_original[topology.vertex_ids].tolist()
    for row, vertex in enumerate(topology.original_id.tolist()):
        sources, positions = in_edges(graph.edges, vertex)
        entries = slice(topology.indptr[row], topology.indptr[row + 1])
        assert to_original[topology.indices[entries]].tolist() == sources
        if topology.edge_id is not None:
            assert topology.edge_id[entries].tolist() == positions


@pytest.mark.parametrize("chunk", [1, 7, 40])
def test_halo_topology_in_pieces(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(halo_topology, "CHUNK_EDGES", chunk)
    graph = make_graph(60, 150, seed=2)
    options = {"num_parts": 4, "method": "random", "halo_hops": 2}
    parts = partitioned(graph, tmp_path / "out", **options)
    for part in parts:
        check_halo_topology(graph, part, original_ids(parts), 2)


@settings(max_examples=15, deadline=None)
@given(raw_graphs(), st.sampled_from(METHODS))
def test_same_seed_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, graph: RawGraph, method: str
) -> None:
    texts = []
    for _ in range(2):
        out = tmp_path_factory.mktemp("parts") / "out"
        partitioned(graph, out, method=method, num_parts=3, seed=5)
        # The manifest holds the hash of every file.
        texts.append((out / "manifest.json").read_bytes())
    assert texts[0] == texts[1]


@settings(max_examples=20, deadline=None)
@given(raw_graphs())
def test_undirected(tmp_path_factory: pytest.TempPathFactory, graph: RawGraph) -> None:
    out = tmp_path_factory.mktemp("parts") / "out"
    parts = partitioned(graph, out, method="random", num_parts=2, undirected=True)
    to_original = original_ids(parts)
    pairs = set(zip(*graph.edges.tolist(), strict=True))
    expected = pairs | {(destination, source) for source, destination in pairs}
    found = []
    for part in parts:
        destinations = np.repeat(part.original_id, np.diff(part.indptr))
        sources = to_original[part.indices]
        found += zip(sources.tolist(), destinations.tolist(), strict=True)
        if part.edge_id is not None:
            assert graph.edge_attr is not None
            assert np.array_equal(part.edge_attr, graph.edge_attr[part.edge_id])
            ends = np.sort(graph.edges[:, part.edge_id], axis=0)
            assert np.array_equal(ends, np.sort([sources, destinations], axis=0))
    assert len(found) == len(expected)
    assert set(found) == expected
    assert read_manifest(out).num_edges == len(expected)


def test_one_part_keeps_the_ids(tmp_path: Any) -> None:
    graph = make_graph(30, 90)
    (part,) = partitioned(graph, tmp_path / "out", num_parts=1)
    assert part.original_id.tolist() == list(range(30))
    assert len(part.halo) == 0


def test_graph_without_labels_splits_and_edges(tmp_path: Any) -> None:
    bare = RawGraph(
        name="bare",
        source="by hand",
        num_vertices=7,
        edges=np.empty((2, 0), dtype=np.int64),
        arrays={},
        splits={},
        num_classes=0,
    )
    for method in METHODS:
        parts = partitioned(bare, tmp_path / method, num_parts=3, method=method)
        assert [part.num_edges for part in parts] == [0, 0, 0]
        assert max(part.num_vertices for part in parts) <= 3


def test_more_parts_than_vertices(tmp_path: Any) -> None:
    with pytest.raises(ConfigError, match="at most the number of vertices, 3, got 4"):
        partitioned(make_graph(3, 5), tmp_path / "out", num_parts=4)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", METHODS)
def test_as_many_parts_as_vertices(tmp_path: Any, method: str) -> None:
    parts = partitioned(make_graph(5, 20), tmp_path / "out", num_parts=5, method=method)
    assert [part.num_vertices for part in parts] == [1] * 5


def test_a_name_of_the_format_is_refused(tmp_path: Any) -> None:
    graph = make_graph(9, 9)
    for name in ("indices", "../x", "a b", ""):
        odd = RawGraph(
            name="odd",
            source="by hand",
            num_vertices=9,
            edges=graph.edges,
            arrays={name: graph.arrays["x"]},
            splits={},
            num_classes=0,
        )
        with pytest.raises(PartitionFormatError, match="cannot name an array or split"):
            partition_graph(odd, tmp_path / "out", PartitionConfig(num_parts=2))


def test_there_is_no_such_part(tmp_path: Any) -> None:
    partitioned(make_graph(9, 9), tmp_path / "out", num_parts=2)
    with pytest.raises(PartitionFormatError, match="has 2 parts, numbered from 0"):
        open_partition(tmp_path / "out", 2)


def test_imported_under_one_name_only() -> None:
    check = "import sys, gnnflow.partition; raise SystemExit('partition' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_partitioning_imports_no_torch_and_no_mpi() -> None:
    check = (
        "import sys, gnnflow.partition; "
        "raise SystemExit(bool({'torch', 'mpi4py', 'matplotlib'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", check], check=True)
