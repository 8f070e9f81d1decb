"""Sampling hop by hop with the help of owners, and the owners' side of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nasty_graphs import loops_and_repeats, power_law, topology_of, uniform
from plain_sampler import Csc, Stream, assert_equal_arrays, drawn_positions

from gnnflow import _kernels


class CutGraph:
    """A graph cut into parts: ids as in a partition folder, lists in the order of the input."""

    def __init__(self, graph, part_of, num_parts):
        self.order = np.argsort(part_of, kind="stable")  # global -> original
        self.global_of = np.empty(graph.num_vertices, dtype=np.int64)
        self.global_of[self.order] = np.arange(graph.num_vertices)
        self.offsets = np.zeros(num_parts + 1, dtype=np.int64)
        np.cumsum(np.bincount(part_of, minlength=num_parts), out=self.offsets[1:])
        self.graph = graph
        self.num_parts = num_parts

    def lists_of(self, global_ids):
        original = self.order[global_ids]
        begins, ends = self.graph.indptr[original], self.graph.indptr[original + 1]
        entries = np.concatenate(
            [np.arange(b, e) for b, e in zip(begins, ends, strict=True)]
            + [np.empty(0, dtype=np.int64)]
        ).astype(np.int64)
        indptr = np.zeros(len(original) + 1, dtype=np.int64)
        np.cumsum(ends - begins, out=indptr[1:])
        return (
            indptr,
            self.global_of[self.graph.indices[entries]],
            original,
            self.graph.edge_id[entries],
        )

    def topology(self, parts, halo=()):
        topology = _kernels.Topology(self.offsets)
        for part in parts:
            inner = np.arange(self.offsets[part], self.offsets[part + 1])
            topology.set_part(part, *self.lists_of(inner))
        for number, block in enumerate(halo):
            block = np.unique(np.asarray(block, dtype=np.int64))
            add = topology.set_halo if number == 0 else topology.add_halo
            add(block, *self.lists_of(block))
        return topology


def sample_by_steps(sampler, owners, seeds, fanouts, key, replace=False, with_edge_ids=True):
    seed, epoch, minibatch = key
    sampler.start(seeds, seed, epoch, minibatch)
    num_asked = 0
    for hop, fanout in enumerate(fanouts):
        remote_ids, per_owner = sampler.expand(fanout, replace, with_edge_ids)
        num_asked += len(remote_ids)
        if len(remote_ids) == 0:
            continue
        answers = []
        for owner, ids in enumerate(np.split(remote_ids, np.cumsum(per_owner)[:-1])):
            answers.append(
                _kernels.sample_neighbors(
                    owners[owner],
                    ids,
                    np.array([minibatch]),
                    np.array([len(ids)]),
                    fanout,
                    hop,
                    seed,
                    epoch,
                    replace,
                    with_edge_ids,
                )
            )
        counts, neighbors, edge_ids = zip(*answers, strict=True)
        sampler.merge(
            np.concatenate(counts),
            np.concatenate(neighbors),
            np.concatenate(edge_ids) if with_edge_ids else None,
        )
    return sampler.finish(), num_asked


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    num_parts=st.integers(1, 5),
    local=st.sets(st.integers(0, 4)),
    fanouts=st.lists(st.integers(-1, 12), min_size=1, max_size=3),
    replace=st.booleans(),
    num_threads=st.integers(1, 3),
)
def test_any_cut_gives_the_subgraph_of_one_part(
    seed, num_parts, local, fanouts, replace, num_threads
):
    rng = np.random.default_rng(seed)
    graph = power_law(num_vertices=150, num_edges=2000, seed=seed)
    seeds = rng.permutation(graph.num_vertices)[:20]
    whole = _kernels.NeighborSampler(topology_of(graph)).sample(
        seeds, fanouts, seed, 1, 2, replace, True
    )
    cut = CutGraph(graph, rng.integers(0, num_parts, graph.num_vertices), num_parts)
    parts = [part for part in local if part < num_parts]
    halo = [rng.permutation(graph.num_vertices)[:30] for _ in range(seed % 3)]
    sampler = _kernels.NeighborSampler(cut.topology(parts, halo), num_threads)
    owners = [cut.topology([part]) for part in range(num_parts)]
    sample, num_asked = sample_by_steps(
        sampler, owners, cut.global_of[seeds], fanouts, (seed, 1, 2), replace
    )
    np.testing.assert_array_equal(cut.order[sample.vertices], whole.vertices)
    for name in ("indptr", "src", "edge_ids"):
        np.testing.assert_array_equal(getattr(sample, name), getattr(whole, name))
    assert sample.num_sampled_vertices == whole.num_sampled_vertices
    assert sample.num_sampled_edges == whole.num_sampled_edges
    if len(parts) == num_parts:
        assert num_asked == 0


def test_large_hops_with_remote_vertices():
    graph = uniform(num_vertices=20000, num_edges=300000)
    rng = np.random.default_rng(0)
    seeds = rng.permutation(graph.num_vertices)[:300]
    whole = _kernels.NeighborSampler(topology_of(graph), 2).sample(seeds, [15, 10], 4, 5, 6)
    cut = CutGraph(graph, rng.integers(0, 3, graph.num_vertices), 3)
    sample, num_asked = sample_by_steps(
        _kernels.NeighborSampler(cut.topology([1]), 2),
        [cut.topology([part]) for part in range(3)],
        cut.global_of[seeds],
        [15, 10],
        (4, 5, 6),
        with_edge_ids=False,
    )
    assert num_asked > 2000
    np.testing.assert_array_equal(cut.order[sample.vertices], whole.vertices)
    np.testing.assert_array_equal(sample.src, whole.src)
    assert sample.edge_ids is None


def test_remote_ids_come_by_owner_and_in_frontier_order():
    graph = uniform(num_vertices=60, num_edges=100)
    cut = CutGraph(graph, np.arange(60) % 3, 3)
    sampler = _kernels.NeighborSampler(cut.topology([0]))
    seeds = np.random.default_rng(0).permutation(60)
    sampler.start(seeds, 0, 0, 0)
    remote_ids, per_owner = sampler.expand(3)
    expected = [seeds[(seeds >= 20 * part) & (seeds < 20 * part + 20)] for part in (1, 2)]
    np.testing.assert_array_equal(remote_ids, np.concatenate(expected))
    assert per_owner.tolist() == [0, 20, 20]


def test_owners_answer_for_several_minibatches_at_once():
    graph = power_law()
    original_id = np.random.default_rng(1).permutation(graph.num_vertices)
    topology = topology_of(graph, original_id)
    ids = np.random.default_rng(2).integers(0, graph.num_vertices, 500)
    sizes, minibatches, epochs = [200, 0, 299, 1], [4, 9, 2, 4], [0, 1, 1, 3]
    counts, neighbors, edge_ids = _kernels.sample_neighbors(
        topology,
        ids,
        np.array(minibatches),
        np.array(sizes),
        fanout=6,
        hop=2,
        seed=8,
        epochs=np.array(epochs),
        with_edge_ids=True,
        num_threads=2,
    )
    segment = np.repeat(np.arange(4), sizes)
    at = 0
    for i, vertex in enumerate(ids):
        first, last = graph.indptr[vertex], graph.indptr[vertex + 1]
        stream = Stream(8, epochs[segment[i]], minibatches[segment[i]], 2, int(original_id[vertex]))
        expected = first + np.array(
            drawn_positions(stream, int(last - first), 6, False), dtype=np.int64
        )
        assert counts[i] == len(expected)
        np.testing.assert_array_equal(
            neighbors[at : at + counts[i]], graph.indices[expected].astype(np.int64)
        )
        np.testing.assert_array_equal(edge_ids[at : at + counts[i]], graph.edge_id[expected])
        at += counts[i]
    assert at == len(neighbors)


def test_a_sampler_is_used_again_after_steps():
    graph = uniform()
    cut = CutGraph(graph, np.arange(graph.num_vertices) % 2, 2)
    owners = [cut.topology([part]) for part in range(2)]
    sampler = _kernels.NeighborSampler(cut.topology([0]))
    everything = _kernels.NeighborSampler(cut.topology([0, 1]))
    for minibatch in range(30):
        seeds = np.random.default_rng(minibatch).permutation(graph.num_vertices)[:50]
        sample, _ = sample_by_steps(sampler, owners, seeds, [5, 5], (1, 0, minibatch))
        assert_equal_arrays(sample, everything.sample(seeds, [5, 5], 1, 0, minibatch, False, True))


@pytest.fixture
def half_here():
    graph = loops_and_repeats()
    cut = CutGraph(graph, np.arange(10) % 2, 2)
    sampler = _kernels.NeighborSampler(cut.topology([0]))
    sampler.start(np.arange(10), 0, 0, 0)
    return sampler


@pytest.mark.parametrize(
    ("counts", "neighbors", "message"),
    [
        ([0, 0, 0, 0], [], "counts must have one entry per remote vertex: expected 5, got 4"),
        ([1, 0, 0, 0, 0], [], "neighbors must have as many entries as counts add up to: 1, got 0"),
        ([0, 0, 0, 0, -1], [], r"counts must be in \[0, 4294967295\], got -1"),
        ([1, 0, 0, 0, 0], [10], r"the owner's answer holds a neighbour that is not in \[0, 10\)"),
        ([1, 0, 0, 0, 0], [-1], r"the owner's answer holds a neighbour that is not in \[0, 10\)"),
    ],
)
def test_bad_answers(half_here, counts, neighbors, message):
    half_here.expand(2)
    with pytest.raises(ValueError, match=message):
        half_here.merge(np.array(counts), np.array(neighbors, dtype=np.int64))


def test_answers_must_bring_edge_ids_if_asked(half_here):
    half_here.expand(2, with_edge_ids=True)
    with pytest.raises(ValueError, match="edge_ids must be given"):
        half_here.merge(np.array([1, 0, 0, 0, 0]), np.array([3]))
    with pytest.raises(ValueError, match="edge_ids must have one entry per neighbour"):
        half_here.merge(np.array([1, 0, 0, 0, 0]), np.array([3]), np.array([3, 4]))


def test_steps_must_follow_their_order(half_here):
    with pytest.raises(RuntimeError, match="merge must follow"):
        half_here.merge(np.array([1]), np.array([1]))
    half_here.expand(2)
    with pytest.raises(RuntimeError, match="expand must follow"):
        half_here.expand(2)
    with pytest.raises(RuntimeError, match="finish must follow"):
        half_here.finish()
    half_here.start(np.array([0]), 0, 0, 0)
    half_here.finish()
    with pytest.raises(RuntimeError, match="expand must follow"):
        half_here.expand(2)


def test_one_call_needs_every_vertex_here():
    cut = CutGraph(loops_and_repeats(), np.arange(10) % 2, 2)
    sampler = _kernels.NeighborSampler(cut.topology([0]))
    with pytest.raises(ValueError, match="vertex 5 is not in this topology; sample step by step"):
        sampler.sample(np.array([0, 5]), [2], 0, 0, 0)


def test_owners_refuse_what_they_do_not_own():
    cut = CutGraph(loops_and_repeats(), np.arange(10) % 2, 2)
    topology = cut.topology([0])
    one = np.array([1])
    with pytest.raises(ValueError, match="vertex 7 is not in this topology; ask the rank"):
        _kernels.sample_neighbors(topology, np.array([7]), one, one, 2, 0, 0, 0)
    with pytest.raises(ValueError, match=r"ids must be global ids in \[0, 10\), got 10"):
        _kernels.sample_neighbors(topology, np.array([10]), one, one, 2, 0, 0, 0)
    with pytest.raises(ValueError, match="segment_sizes must add up to the 1 ids, got 0"):
        _kernels.sample_neighbors(topology, one, one, np.array([0]), 2, 0, 0, 0)
    with pytest.raises(ValueError, match="segment_sizes must not be negative"):
        _kernels.sample_neighbors(topology, one, one, np.array([-1]), 2, 0, 0, 0)
    with pytest.raises(ValueError, match="must have one entry per segment, got 2, 1 and 1"):
        _kernels.sample_neighbors(topology, one, np.array([1, 2]), one, 2, 0, 0, 0)


def test_local_vertices_are_inner_ones_and_those_of_halo_blocks():
    cut = CutGraph(loops_and_repeats(), np.arange(10) % 2, 2)
    topology = cut.topology([1], halo=[[0, 3], [2, 9]])
    local = topology.is_local(np.array([-1, 0, 1, 2, 3, 4, 5, 9, 10]))
    assert local.tolist() == [False, True, False, True, True, False, True, True, False]
    graph = Csc.from_edges(10, [1], [3])
    topology.set_halo(np.array([4]), np.array([0, 1]), graph.indices, np.array([8]))
    assert topology.is_local(np.arange(5)).tolist() == [False, False, False, False, True]
