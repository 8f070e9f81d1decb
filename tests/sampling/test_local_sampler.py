import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from nasty_graphs import ALL, hub, loops_and_repeats, power_law, topology_of, uniform
from plain_sampler import Csc, assert_equal_arrays, assert_same, plain_sample

from gnnflow import _kernels
from gnnflow.errors import DataError
from gnnflow.sampling import LocalNeighborSampler

FANOUTS = ([5, 5], [15, 10, 5], [0, 3], [3, 0], [-1, 2], [1000000, 1], [60, 70], [])


def seeds_of(graph, size=20, seed=3):
    size = min(size, graph.num_vertices)
    return np.random.default_rng(seed).permutation(graph.num_vertices)[:size]


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_every_draw_is_that_of_the_plain_sampler(name, replace, num_threads):
    graph = ALL[name]()
    original_id = np.random.default_rng(5).permutation(graph.num_vertices)
    sampler = _kernels.NeighborSampler(topology_of(graph, original_id), num_threads)
    for minibatch, fanouts in enumerate(FANOUTS):
        if replace and max(fanouts, default=0) > 1000:
            continue
        seeds = seeds_of(graph, seed=minibatch)
        arrays = sampler.sample(seeds, fanouts, 11, 2, minibatch, replace, True)
        expected = plain_sample(
            graph, seeds, fanouts, 11, 2, minibatch, replace=replace, original_id=original_id
        )
        assert_same(arrays, expected)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_small_graph(data):
    num_vertices = data.draw(st.integers(1, 12))
    vertex = st.integers(0, num_vertices - 1)
    edges = data.draw(st.lists(st.tuples(vertex, vertex), max_size=60))
    graph = Csc.from_edges(num_vertices, [e[0] for e in edges], [e[1] for e in edges])
    seeds = np.array(data.draw(st.lists(vertex, unique=True)), dtype=np.int64)
    fanouts = data.draw(st.lists(st.integers(-1, 6), max_size=4))
    replace = data.draw(st.booleans())
    number = st.integers(0, 2**63 - 1)
    seed, epoch, minibatch = data.draw(number), data.draw(number), data.draw(number)
    sampler = _kernels.NeighborSampler(topology_of(graph))
    arrays = sampler.sample(seeds, fanouts, seed, epoch, minibatch, replace, True)
    assert_same(
        arrays, plain_sample(graph, seeds, fanouts, seed, epoch, minibatch, replace=replace)
    )


@pytest.mark.parametrize("fanouts", [[15, 10, 5], [-1, -1], [200, 3]])
def test_threads_do_not_change_the_subgraph(fanouts):
    graph = uniform(num_vertices=20000, num_edges=300000)
    topology = topology_of(graph)
    seeds = seeds_of(graph, 300)
    samples = [
        _kernels.NeighborSampler(topology, num_threads).sample(seeds, fanouts, 1, 2, 3, False, True)
        for num_threads in (1, 2, 3, 4)
    ]
    assert len(samples[0].src) > 16000  # enough for the parallel way
    for other in samples[1:]:
        assert_equal_arrays(samples[0], other)
    assert_same(samples[0], plain_sample(graph, seeds, fanouts, 1, 2, 3))


def test_vertices_are_numbered_once_and_in_order_of_discovery():
    graph = uniform(num_vertices=5000, num_edges=200000)
    sample = _kernels.NeighborSampler(topology_of(graph), 2).sample(
        seeds_of(graph, 500), [20, 20], 0, 0, 0
    )
    assert len(np.unique(sample.vertices)) == len(sample.vertices)
    _, first_seen = np.unique(np.concatenate([np.arange(500), sample.src]), return_index=True)
    assert (np.diff(first_seen) > 0).all()


def test_full_fanout_is_the_neighbourhood_of_k_hops():
    graph = power_law(num_vertices=2000, num_edges=5000)
    size = (graph.num_vertices, graph.num_vertices)
    adjacency = scipy.sparse.csr_array(
        (np.ones(len(graph.indices)), graph.indices, graph.indptr), shape=size
    )
    seeds = seeds_of(graph, 5)
    sample = _kernels.NeighborSampler(topology_of(graph), 2).sample(seeds, [-1] * 3, 0, 0, 0)
    reached = np.zeros(graph.num_vertices, dtype=bool)
    reached[seeds] = True
    for hop in range(3):
        expanded = np.flatnonzero(reached)
        reached |= (adjacency.T @ reached.astype(float)) > 0
        assert sum(sample.num_sampled_vertices[: hop + 2]) == reached.sum()
    assert set(sample.vertices.tolist()) == set(np.flatnonzero(reached).tolist())
    assert len(sample.src) == np.diff(graph.indptr)[expanded].sum()
    destination = np.repeat(sample.vertices[: len(sample.indptr) - 1], np.diff(sample.indptr))
    sampled = scipy.sparse.coo_array(
        (np.ones(len(sample.src)), (destination, sample.vertices[sample.src])), shape=size
    )
    whole = scipy.sparse.diags_array(np.isin(np.arange(size[0]), expanded) * 1.0) @ adjacency
    assert (sampled.tocsr() != whole.tocsr()).nnz == 0


def test_a_vertex_keeps_all_neighbours_up_to_the_fanout():
    graph = power_law()
    degree = np.diff(graph.indptr)
    seeds = np.arange(graph.num_vertices)
    for fanout in (0, 1, 7, 64, 65, 100):
        sample = _kernels.NeighborSampler(topology_of(graph)).sample(
            seeds, [fanout], 0, 0, 0, False, True
        )
        np.testing.assert_array_equal(np.diff(sample.indptr), np.minimum(degree, fanout))
        assert len(np.unique(sample.edge_ids)) == len(sample.edge_ids)  # never one edge twice


def test_indices_of_both_widths_and_read_only_maps_give_the_same(tmp_path):
    wide, narrow = uniform(dtype=np.int64), uniform(dtype=np.int32)
    np.save(tmp_path / "indptr.npy", narrow.indptr)
    np.save(tmp_path / "indices.npy", narrow.indices)
    mapped = Csc(
        np.load(tmp_path / "indptr.npy", mmap_mode="r"),
        np.load(tmp_path / "indices.npy", mmap_mode="r"),
        wide.edge_id,
    )
    assert not mapped.indices.flags.writeable
    seeds = seeds_of(wide)
    seeds.flags.writeable = False
    samples = [
        _kernels.NeighborSampler(topology_of(graph)).sample(seeds, [5, 5], 0, 0, 0, False, True)
        for graph in (wide, narrow, mapped)
    ]
    assert_equal_arrays(samples[0], samples[1])
    assert_equal_arrays(samples[0], samples[2])


def test_ids_beyond_32_bits():
    start = 1 << 33
    graph = loops_and_repeats()
    topology = _kernels.Topology(np.array([0, start, start + graph.num_vertices]))
    original_id = np.arange(graph.num_vertices)
    topology.set_part(1, graph.indptr, graph.indices + start, original_id, graph.edge_id)
    seeds = np.array([3, 0, 9])
    arrays = _kernels.NeighborSampler(topology, 2).sample(
        seeds + start, [2, -1, 3], 1, 2, 3, False, True
    )
    expected = plain_sample(graph, seeds, [2, -1, 3], 1, 2, 3)
    expected.vertices = [vertex + start for vertex in expected.vertices]
    assert_same(arrays, expected)


def test_wide_and_narrow_tables_agree_on_large_hops():
    graph = uniform(num_vertices=20000, num_edges=300000, dtype=np.int64)
    start = 1 << 33
    wide = _kernels.Topology(np.array([0, start, start + graph.num_vertices]))
    wide.set_part(
        1, graph.indptr, graph.indices + start, np.arange(graph.num_vertices), graph.edge_id
    )
    seeds = seeds_of(graph, 300)
    one = _kernels.NeighborSampler(topology_of(graph), 2).sample(seeds, [15, 10], 1, 2, 3)
    two = _kernels.NeighborSampler(wide, 2).sample(seeds + start, [15, 10], 1, 2, 3)
    np.testing.assert_array_equal(one.vertices, two.vertices - start)
    np.testing.assert_array_equal(one.src, two.src)


def test_results_outlive_later_minibatches_and_the_sampler():
    graph = uniform()
    sampler = _kernels.NeighborSampler(topology_of(graph), 2)
    kept = [sampler.sample(seeds_of(graph, 200, seed=m), [5, 5], 0, 0, m) for m in range(200)]
    del sampler
    for minibatch in (0, 57, 199):
        seeds = seeds_of(graph, 200, seed=minibatch)
        expected = plain_sample(graph, seeds, [5, 5], 0, 0, minibatch)
        assert_same(kept[minibatch], expected, with_edge_ids=False)
        assert kept[minibatch].src.flags.writeable


def test_a_sampler_goes_on_after_a_bad_minibatch():
    graph = uniform()
    sampler = _kernels.NeighborSampler(topology_of(graph))
    for bad in ([1, 1], [-1], [graph.num_vertices]):
        with pytest.raises(ValueError):
            sampler.sample(np.array(bad), [5], 0, 0, 0)
    seeds = seeds_of(graph)
    assert_same(
        sampler.sample(seeds, [5, 5], 0, 0, 0, False, True),
        plain_sample(graph, seeds, [5, 5], 0, 0, 0),
    )


def test_no_seeds_and_a_seed_without_neighbours():
    sampler = _kernels.NeighborSampler(topology_of(loops_and_repeats()))
    empty = sampler.sample(np.empty(0, dtype=np.int64), [5, 5], 0, 0, 0)
    assert len(empty.vertices) == len(empty.src) == 0
    assert empty.indptr.tolist() == [0]
    assert (empty.num_sampled_vertices, empty.num_sampled_edges) == ([0, 0, 0], [0, 0])
    alone = sampler.sample(np.array([8]), [5, 5], 0, 0, 0)
    assert alone.vertices.tolist() == [8]
    assert alone.indptr.tolist() == [0, 0]
    assert (alone.num_sampled_vertices, alone.num_sampled_edges) == ([1, 0, 0], [0, 0])


@pytest.mark.parametrize(
    ("seeds", "fanouts", "message"),
    [
        ([4, 2, 4], [5], "seeds must be unique, got 4 twice; remove repeated seeds"),
        ([-1], [5], r"seeds must be global ids in \[0, 10\), got -1"),
        ([10], [5], r"seeds must be global ids in \[0, 10\), got 10"),
        ([1], [-2], "fanout must be -1 .* got -2"),
        ([1.5], [5], "seeds must hold integers, got float64; use int64"),
        ([[1]], [5], "seeds must have one dimension, got 2"),
    ],
)
def test_bad_seeds_and_fanouts(seeds, fanouts, message):
    sampler = LocalNeighborSampler(topology_of(loops_and_repeats()))
    with pytest.raises(DataError, match=message):
        sampler.sample(np.array(seeds), fanouts, epoch=0, minibatch=0)


def test_edge_ids_need_edge_ids():
    graph = hub(20)
    topology = _kernels.Topology(np.array([0, graph.num_vertices]))
    topology.set_part(0, graph.indptr, graph.indices)
    sampler = LocalNeighborSampler(topology, with_edge_ids=True)
    with pytest.raises(DataError, match="with_edge_ids needs edge ids in every part"):
        sampler.sample(np.array([0]), [5], epoch=0, minibatch=0)


def test_the_wrapper_passes_on_every_option():
    graph = hub(300)
    sampler = LocalNeighborSampler(
        topology_of(graph), seed=9, num_threads=2, replace=True, with_edge_ids=True
    )
    seeds = np.arange(0, 200, 7)
    subgraph = sampler.sample(seeds, [4, 3], epoch=5, minibatch=6)
    assert_same(subgraph, plain_sample(graph, seeds, [4, 3], 9, 5, 6, replace=True))


def test_num_threads_has_limits():
    topology = topology_of(hub(3))
    for num_threads in (0, -1, 1025):
        with pytest.raises(ValueError, match=r"num_threads must be in \[1, 1024\]"):
            _kernels.NeighborSampler(topology, num_threads)
