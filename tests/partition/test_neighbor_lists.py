"""The counting sorts against plain numpy."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from raw_graphs import in_edges, raw_graphs
from torch_geometric.utils import to_undirected

from gnnflow import _kernels
from gnnflow.datasets import RawGraph
from gnnflow.partition import csc
from gnnflow.partition.adjacency import build_adjacency, induce
from gnnflow.partition.csc import build_csc, count_in_degrees, make_undirected


@given(raw_graphs(), st.integers(0, 99), st.sampled_from([1, 7, 1 << 21]))
def test_csc_keeps_input_order(graph: RawGraph, seed: int, chunk: int) -> None:
    permutation = np.random.default_rng(seed).permutation(graph.num_vertices)
    new_id = permutation.astype(graph.edges.dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csc, "_CHUNK_EDGES", chunk)
        in_degree = count_in_degrees(graph.edges, graph.num_vertices)
        lists = build_csc(graph.edges, in_degree, new_id, keep_edge_ids=True)
    assert lists.edge_id is not None
    for vertex in range(graph.num_vertices):
        entries = slice(lists.indptr[new_id[vertex]], lists.indptr[new_id[vertex] + 1])
        sources, positions = in_edges(graph.edges, vertex)
        assert lists.indices[entries].tolist() == new_id[sources].tolist()
        assert lists.edge_id[entries].tolist() == positions


def symmetric(graph: RawGraph) -> scipy.sparse.csr_array:
    shape = (graph.num_vertices, graph.num_vertices)
    ones = np.ones(graph.num_edges)
    matrix = scipy.sparse.coo_array((ones, tuple(graph.edges)), shape=shape).tocsr()
    both = ((matrix + matrix.T) > 0).astype(int).tolil()
    both.setdiag(0)
    return both.tocsr()


@given(raw_graphs(), st.integers(1, 3))
def test_adjacency_is_symmetric_and_simple(
    tmp_path_factory: pytest.TempPathFactory, graph: RawGraph, num_threads: int
) -> None:
    scratch = tmp_path_factory.mktemp("adjacency")
    adjacency = build_adjacency(graph.edges, graph.num_vertices, scratch, num_threads=num_threads)
    expected = symmetric(graph)
    assert adjacency.indptr.tolist() == expected.indptr.tolist()
    assert adjacency.neighbors.tolist() == expected.indices.tolist()

    chosen = np.flatnonzero(np.arange(graph.num_vertices) % 3 != 1)
    inside = induce(adjacency, chosen)
    expected = expected[chosen][:, chosen].tocsr()
    expected.sort_indices()
    assert inside.indptr.tolist() == expected.indptr.tolist()
    assert inside.neighbors.tolist() == expected.indices.tolist()


@given(raw_graphs(), st.integers(1, 3))
def test_undirected_as_pyg_does(graph: RawGraph, num_threads: int) -> None:
    edges, edge_id = make_undirected(
        graph.edges, graph.num_vertices, keep_edge_ids=True, num_threads=num_threads
    )
    bare, none = make_undirected(graph.edges, graph.num_vertices, keep_edge_ids=False)
    assert none is None
    assert bare.tolist() == edges.tolist()
    expected = to_undirected(torch.from_numpy(graph.edges.astype(np.int64))).numpy()
    # PyG sorts by source, this by destination: the same pairs, the other way round.
    assert edges[::-1].tolist() == expected.tolist()

    assert edge_id is not None
    pairs = list(zip(*graph.edges.tolist(), strict=True))
    for source, destination, position in zip(*edges.tolist(), edge_id.tolist(), strict=True):
        forward = (source, destination)
        wanted = forward if forward in pairs else forward[::-1]
        assert position == pairs.index(wanted)


def test_kernels_refuse_what_would_write_out_of_bounds() -> None:
    edge = np.array([0, 1, 7])
    counts = np.zeros(3, dtype=np.int64)
    with pytest.raises(ValueError, match=r"ids must be in \[0, 3\)"):
        _kernels.count_ids(edge, None, counts)
    with pytest.raises(ValueError, match=r"new_id must be in \[0, 3\)"):
        _kernels.count_ids(np.array([0]), np.array([-1]), counts)
    with pytest.raises(ValueError, match=r"keys must be in \[0, 3\)"):
        _kernels.scatter_edges(edge, edge, None, counts, np.empty(3, dtype=np.int64), None, 0)
    with pytest.raises(ValueError, match="not those that were counted"):
        full = np.full(3, 2, dtype=np.int64)
        zeros = np.zeros(3, dtype=np.int64)
        _kernels.scatter_edges(zeros, zeros, None, full, np.empty(3, dtype=np.int64), None, 0)
    with pytest.raises(ValueError, match="not those that were counted"):
        full = np.full(3, 3, dtype=np.int64)
        _kernels.scatter_both_ends(np.array([0]), np.array([1]), full, np.empty(3, dtype=np.int64))
    with pytest.raises(ValueError, match=r"sources must be in \[0, 3\)"):
        _kernels.count_both_ends(edge, edge, counts)
    with pytest.raises(ValueError, match="indptr must rise from 0 to 3"):
        _kernels.sort_lists(np.array([0, 5, 3]), edge, None)
    with pytest.raises(ValueError, match="asks for more entries than list 0 has"):
        _kernels.pack_lists(np.array([0, 1, 3]), edge, np.array([0, 2, 3]), edge.copy())
    with pytest.raises(ValueError, match="must be int32 or int64, got float64"):
        _kernels.count_ids(edge.astype(float), None, counts)


def test_memory_mapped_column_major_edges(tmp_path: Path) -> None:
    edges = np.random.default_rng(0).integers(0, 9, (2, 50))
    np.save(tmp_path / "edges.npy", np.ascontiguousarray(edges.T))
    mapped = np.load(tmp_path / "edges.npy", mmap_mode="r").T
    identity = np.arange(9, dtype=np.int32)
    in_degree = count_in_degrees(mapped, 9)
    lists = build_csc(mapped, in_degree, identity, keep_edge_ids=False)
    assert lists.edge_id is None
    assert lists.indices.dtype == np.int32
    for vertex in range(9):
        entries = slice(lists.indptr[vertex], lists.indptr[vertex + 1])
        assert lists.indices[entries].tolist() == in_edges(edges, vertex)[0]
