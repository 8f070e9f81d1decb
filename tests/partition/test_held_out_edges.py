"""Edges kept out of the graph: which ones, where they go, and that nothing gives them away."""

from dataclasses import replace

import numpy as np
import pytest
from raw_graphs import make_graph

from gnnflow.config import PartitionConfig
from gnnflow.errors import ConfigError
from gnnflow.partition import open_partition, partition_graph
from gnnflow.partition.held_out_edges import edge_split_codes


def originals(folder, num_parts):
    return np.concatenate([open_partition(folder, part).original_id for part in range(num_parts)])


def pairs(edges):
    return {tuple(sorted(pair)) for pair in edges.T.tolist()}


def parts_of(graph, folder, num_parts, **options):
    options = {"val_edges": 0.1, "test_edges": 0.2, "method": "random"} | options
    partition_graph(graph, folder, PartitionConfig(num_parts=num_parts, **options))
    return [open_partition(folder, part, verify=True) for part in range(num_parts)]


def split_of(parts, original):
    """The edges of each split in original ids, sorted, and their attributes for `train`."""
    train = []
    for part in parts:
        dst = np.repeat(np.arange(part.num_vertices) + part.first_id, np.diff(part.indptr))
        train.append(original[np.stack([part.indices, dst])])
    found = {"train": np.concatenate(train, axis=1)}
    for name in ("val", "test"):
        found[name] = original[np.concatenate([p.held_out_edges[name] for p in parts], axis=1)]
    return found


@pytest.mark.parametrize("undirected", [False, True])
def test_every_edge_is_in_one_split_whatever_the_parts(tmp_path, undirected):
    graph = make_graph(80, 900)
    codes = edge_split_codes(*np.asarray(graph.edges), (0.1, 0.2), 0)
    expected = {
        name: np.asarray(graph.edges)[:, codes == code]
        for code, name in enumerate(("train", "val", "test"))
    }
    assert all(edges.shape[1] for edges in expected.values())
    for num_parts in (1, 3):
        folder = tmp_path / str(num_parts)
        parts = parts_of(graph, folder, num_parts, undirected=undirected)
        found = split_of(parts, originals(folder, num_parts))
        names = ("val", "test") if undirected else ("train", "val", "test")
        for name in names:
            assert sorted(found[name].T.tolist()) == sorted(expected[name].T.tolist())
        assert pairs(found["train"]) == pairs(expected["train"])
        assert not pairs(found["train"]) & (pairs(found["val"]) | pairs(found["test"]))
        assert not pairs(found["val"]) & pairs(found["test"])
        for part in parts:
            low, high = part.book.range(part.part_id)
            for edges in part.held_out_edges.values():
                assert ((edges[1] >= low) & (edges[1] < high)).all()


@pytest.mark.parametrize("undirected", [False, True])
def test_attributes_of_the_edges_left(tmp_path, undirected):
    graph = make_graph(80, 900)
    numbered = replace(graph, edge_attr=np.arange(graph.num_edges, dtype=np.float32))
    parts = parts_of(numbered, tmp_path / "parts", 2, undirected=undirected)
    original = originals(tmp_path / "parts", 2)
    for part in parts:
        assert part.edge_attr is not None and part.edge_id is not None
        assert np.array_equal(part.edge_attr, part.edge_id)
        dst = np.repeat(np.arange(part.num_vertices) + part.first_id, np.diff(part.indptr))
        ends = original[np.stack([part.indices, dst])]
        stored = np.asarray(graph.edges)[:, part.edge_id]
        assert np.array_equal(np.sort(ends, axis=0), np.sort(stored, axis=0))
        assert undirected or np.array_equal(ends, stored)


def test_reverse_and_parallel_edges_stay_together():
    generator = np.random.default_rng(0)
    src, dst = generator.integers(0, 1 << 40, (2, 20_000))
    codes = edge_split_codes(src, dst, (0.1, 0.3), 5)
    assert np.array_equal(codes, edge_split_codes(dst, src, (0.1, 0.3), 5))
    assert np.allclose(np.bincount(codes) / len(codes), [0.6, 0.1, 0.3], atol=0.01)
    assert not np.array_equal(codes, edge_split_codes(src, dst, (0.1, 0.3), 6))
    neighbours = edge_split_codes(np.zeros(20_000, np.int64), np.arange(20_000), (0.1, 0.3), 5)
    assert np.allclose(np.bincount(neighbours) / len(neighbours), [0.6, 0.1, 0.3], atol=0.01)


def test_without_a_split_there_are_no_files(tmp_path):
    [part] = parts_of(make_graph(30, 90), tmp_path / "a", 1, val_edges=0.0, test_edges=0.0)
    assert part.held_out_edges == {} and not list((tmp_path / "a").rglob("*_edges.npy"))
    [part] = parts_of(make_graph(30, 90), tmp_path / "b", 1, val_edges=0.0)
    assert part.held_out_edges["val"].shape == (2, 0) and part.held_out_edges["test"].shape[1]
    assert not list((tmp_path / "b").rglob("edges_left.npy"))


def test_bad_shares(tmp_path):
    with pytest.raises(ConfigError, match=r"val_edges must be a share in \[0, 1\), got 1"):
        PartitionConfig(val_edges=1)
    with pytest.raises(ConfigError, match="must leave edges to learn from, got 0.5 and 0.5"):
        PartitionConfig(val_edges=0.5, test_edges=0.5)
    with pytest.raises(ConfigError, match="edge_split_seed must not be negative, got -1"):
        PartitionConfig(edge_split_seed=-1)
    with pytest.raises(ConfigError, match="leave none of the 0 edges to learn from"):
        parts_of(make_graph(30, 0), tmp_path / "parts", 1)
