"""Weights of edges through a partition: beside the lists, in their order, and refused if wrong."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_graphs import METHODS, in_edges, make_graph, partitioned, raw_graphs

from gnnflow.datasets import RawGraph
from gnnflow.errors import DataError, PartitionFormatError
from gnnflow.partition import open_partition, read_manifest
from gnnflow.partition.reader import file_sha256, fingerprint


def with_weights(graph: RawGraph, dtype: Any = np.float64) -> RawGraph:
    generator = np.random.default_rng(graph.num_edges)
    weights = generator.exponential(3, graph.num_edges) * (generator.random(graph.num_edges) < 0.8)
    return dataclasses.replace(graph, edge_weight=weights.astype(dtype))


@settings(max_examples=40, deadline=None)
@given(
    raw_graphs(),
    st.sampled_from(METHODS),
    st.integers(1, 4),
    st.integers(0, 2),
    st.sampled_from([np.float32, np.float64, np.int16, np.bool_]),
)
def test_every_edge_keeps_its_weight(
    tmp_path_factory: pytest.TempPathFactory,
    graph: RawGraph,
    method: str,
    num_parts: int,
    halo_hops: int,
    dtype: Any,
) -> None:
    graph = with_weights(graph, dtype)
    out = tmp_path_factory.mktemp("parts") / "out"
    parts = partitioned(graph, out, method=method, num_parts=num_parts, halo_hops=halo_hops)
    assert graph.edge_weight is not None
    weights = graph.edge_weight.astype(np.float32)
    assert read_manifest(out).edge_weights == ("weight",)
    for part in parts:
        # Weights alone need no numbers of the edges.
        assert (part.edge_id is None) == (graph.edge_attr is None)
        for lists in (part, *part.halo_topology):
            assert lists.edge_weight is not None and lists.edge_weight.dtype == np.float32
            for row, vertex in enumerate(lists.original_id.tolist()):
                entries = slice(lists.indptr[row], lists.indptr[row + 1])
                _, positions = in_edges(graph.edges, vertex)
                assert lists.edge_weight[entries].tolist() == weights[positions].tolist()


@settings(max_examples=10, deadline=None)
@given(raw_graphs())
def test_a_reverse_edge_has_the_weight_of_the_edge(
    tmp_path_factory: pytest.TempPathFactory, graph: RawGraph
) -> None:
    numbered = dataclasses.replace(
        graph,
        edge_attr=np.arange(graph.num_edges),
        edge_weight=np.arange(graph.num_edges, dtype=np.float32),
    )
    out = tmp_path_factory.mktemp("parts") / "out"
    for part in partitioned(numbered, out, method="random", num_parts=2, undirected=True):
        assert part.edge_weight is not None and part.edge_id is not None
        assert part.edge_weight.tolist() == part.edge_id.tolist()


def test_edges_that_are_held_out_leave_with_theirs(tmp_path: Path) -> None:
    graph = make_graph(60, 400)
    graph = dataclasses.replace(graph, edge_weight=np.arange(400, dtype=np.float32))
    for undirected in (False, True):
        options = {"val_edges": 0.2, "test_edges": 0.1, "undirected": undirected}
        for part in partitioned(graph, tmp_path / str(undirected), num_parts=2, **options):
            assert part.edge_weight is not None and part.edge_id is not None
            assert part.edge_weight.tolist() == part.edge_id.tolist()


def test_without_weights_nothing_is_written(tmp_path: Path) -> None:
    graph = make_graph(40, 100)
    for part in partitioned(graph, tmp_path / "out", num_parts=2, halo_hops=1):
        assert part.edge_weight is None
        assert all(block.edge_weight is None for block in part.halo_topology)
    manifest = read_manifest(tmp_path / "out")
    assert manifest.edge_weights == () and "edge_weight" not in manifest.to_json()
    assert not list((tmp_path / "out").glob("*/*edge_weight*"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-0.5, "edge 17 has weight -0.5, and weights must be finite and not negative"),
        (np.nan, "edge 17 has weight nan, and weights must be finite"),
        (np.inf, "edge 17 has weight inf, and weights must be finite"),
        (-np.inf, "edge 17 has weight -inf, and weights must be finite"),
        (1e39, r"edge 17 has weight 1e\+39, which float32 does not hold; multiply"),
        (1e-60, "edge 17 has weight 1e-60, which float32 does not hold; multiply"),
    ],
)
def test_weights_that_nothing_can_be_drawn_by_are_refused(
    tmp_path: Path, value: float, message: str
) -> None:
    graph = with_weights(make_graph(40, 100))
    assert graph.edge_weight is not None
    graph.edge_weight[[17, 40]] = value
    with pytest.raises(DataError, match=message):
        partitioned(graph, tmp_path / "out", num_parts=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "weights", [np.ones(99), np.ones((100, 1)), np.ones(()), np.full(100, "1"), np.ones(100, "c8")]
)
def test_anything_but_a_number_for_each_edge_is_refused(
    tmp_path: Path, weights: np.ndarray
) -> None:
    graph = dataclasses.replace(make_graph(40, 100), edge_weight=weights)
    with pytest.raises(DataError, match="one number for each of the 100 edges, got"):
        partitioned(graph, tmp_path / "out", num_parts=2)


@pytest.mark.parametrize("value", [-1, np.nan, np.inf])
@pytest.mark.parametrize("name", ["edge_weight", "halo_topology_edge_weight"])
def test_damaged_weights_are_refused(tmp_path: Path, name: str, value: float) -> None:
    out = tmp_path / "out"
    partitioned(with_weights(make_graph(60, 300)), out, num_parts=2, halo_hops=1)
    rewrite(out, name, lambda array: array.__setitem__(3, value))
    with pytest.raises(PartitionFormatError, match=f"{name}.npy: row 3 holds .* finite number"):
        open_partition(out, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda array: array.astype(np.float64), "expected dtype float32"),
        (lambda array: array[:-1], "rows, found shape|size does not match"),
        (lambda array: array[:, None], "found shape|size does not match"),
    ],
)
@pytest.mark.parametrize("name", ["edge_weight", "halo_topology_edge_weight"])
def test_weights_of_another_shape_are_refused(
    tmp_path: Path, name: str, change: Any, message: str
) -> None:
    out = tmp_path / "out"
    partitioned(with_weights(make_graph(60, 300)), out, num_parts=2, halo_hops=1)
    rewrite(out, name, change)
    with pytest.raises(PartitionFormatError, match=message):
        open_partition(out, 1)


def rewrite(out: Path, name: str, change: Any) -> None:
    """Changes an array of part 1, and the manifest to fit."""
    path = out / "part-00001" / f"{name}.npy"
    array = np.load(path)
    changed = change(array)
    array = array if changed is None else changed
    np.save(path, array)
    manifest = json.loads((out / "manifest.json").read_text())
    file = manifest["parts"][1]["files"][f"{name}.npy"]
    file |= {"dtype": array.dtype.str, "shape": list(array.shape)}
    file |= {"size_bytes": path.stat().st_size}
    file |= {"fingerprint": fingerprint(path), "sha256": file_sha256(path)}
    (out / "manifest.json").write_text(json.dumps(manifest))
