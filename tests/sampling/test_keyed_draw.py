"""Draws by key: the kernel is the plain one, and what is random about it is as it should be."""

import itertools

import numpy as np
import pytest
from nasty_graphs import ALL, clique, hub, power_law, topology_of, uniform, with_source_keys
from plain_sampler import (
    Csc,
    assert_equal_arrays,
    assert_same,
    entry_key,
    keyed_positions,
    plain_sample,
    source_keys,
)
from scipy import stats

from gnnflow import _kernels


def neighbors_of(graph, vertex, fanout, num_draws, *, every=1, first_step=0, seed=1, keyed=None):
    """Entries drawn from one list `[num_draws, fanout]`, one step after the other."""
    steps = first_step + np.arange(num_draws)
    counts, _, edge_ids = _kernels.sample_neighbors(
        with_source_keys(graph) if keyed is None else keyed,
        np.full(num_draws, vertex),
        steps,
        np.ones(num_draws, dtype=np.int64),
        fanout,
        0,
        seed,
        0,
        False,
        True,
        2,
        every,
    )
    assert (counts == fanout).all()
    first, last = graph.indptr[vertex], graph.indptr[vertex + 1]
    position = {int(edge): i for i, edge in enumerate(graph.edge_id[first:last])}
    return np.vectorize(position.__getitem__)(edge_ids).reshape(num_draws, fanout)


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("renumbered", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_source_keys_are_those_of_the_plain_one(name, renumbered, num_threads):
    graph = ALL[name]()
    original_id = np.random.default_rng(3).permutation(graph.num_vertices)
    original_id = original_id if renumbered else np.arange(graph.num_vertices)
    # Some vertices are inner ones, the others are looked up.
    low, high = graph.num_vertices // 4, graph.num_vertices // 2
    outer = np.r_[0:low, high : graph.num_vertices]
    keys = np.empty(len(graph.indices), dtype=np.uint32)
    _kernels.source_keys(
        graph.indptr,
        graph.indices,
        low,
        original_id[low:high],
        outer,
        original_id[outer],
        keys,
        num_threads,
    )
    np.testing.assert_array_equal(keys, source_keys(graph.indptr, graph.indices, original_id))


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("every", [1, 3, 16, 1 << 31])
@pytest.mark.parametrize("name", ALL)
def test_every_draw_is_that_of_the_plain_sampler(name, every, num_threads):
    graph = ALL[name]()
    original_id = np.random.default_rng(5).permutation(graph.num_vertices)
    topology = with_source_keys(graph, original_id, num_threads)
    sampler = _kernels.NeighborSampler(topology, num_threads)
    rng = np.random.default_rng(7)
    for step, fanouts in ((0, [2, 3]), (5, [4]), (48, [1, 1, 1]), (49, [-1, 2]), (50, [0, 2])):
        seeds = rng.permutation(graph.num_vertices)[: min(graph.num_vertices, 60)]
        arrays = sampler.sample(seeds, fanouts, 11, 0, step, False, True, every)
        expected = plain_sample(
            graph, seeds, fanouts, 11, 0, step, original_id=original_id, every=every
        )
        assert_same(arrays, expected)


@pytest.mark.parametrize("degree", [2, 63, 64, 65, 511, 512, 513, 4096, 5000])
def test_lists_of_every_length_and_all_fanouts(degree):
    """Short lists are chosen from whole, long ones after what is too large is left out."""
    graph = hub(degree)
    keyed = with_source_keys(graph)
    keys = source_keys(graph.indptr, graph.indices)[: graph.indptr[1]]
    fanouts = {1, 2, degree // 3, degree // 2, degree - 2, degree - 1} - {0}
    for fanout in fanouts:
        drawn = neighbors_of(graph, 0, fanout, 3, every=2, first_step=9, keyed=keyed)
        for step, positions in enumerate(drawn.tolist(), start=9):
            assert positions == keyed_positions(keys, fanout, 1, step, 2)


@pytest.mark.parametrize("degree", [8, 700])
@pytest.mark.parametrize("num_equal", [2, 5, 8])
def test_of_equal_keys_the_first_positions_count(degree, num_equal):
    """Keys of other sources may be equal by chance; here all are made so."""
    graph = hub(degree)
    topology = topology_of(graph)
    keys = np.arange(len(graph.indices), dtype=np.uint32) * 65_537
    equal = np.random.default_rng(0).choice(degree, num_equal, replace=False)
    keys[equal] = keys[equal[0]]
    topology.set_source_keys(0, keys)
    for fanout in (1, 3, 5, degree - 1):
        drawn = neighbors_of(graph, 0, fanout, 40, keyed=topology)
        for step, positions in enumerate(drawn.tolist()):
            assert positions == keyed_positions(keys[:degree], fanout, 1, step, 1)


@pytest.mark.parametrize("every", [1, 4, 16])
def test_star_every_subset_is_as_likely(every):
    """Across rounds; within one the same is kept again, so one step of each counts."""
    graph, num_draws = hub(12), 30_000
    keyed = with_source_keys(graph)
    drawn = np.concatenate(
        [
            neighbors_of(graph, 0, 4, 1, every=every, first_step=7, seed=seed, keyed=keyed)
            for seed in range(num_draws)
        ]
    )
    subset = {chosen: i for i, chosen in enumerate(itertools.combinations(range(12), 4))}
    observed = np.bincount([subset[tuple(row)] for row in drawn.tolist()], minlength=len(subset))
    assert stats.chisquare(observed, np.full(len(subset), num_draws / len(subset))).pvalue > 0.001


@pytest.mark.parametrize("graph", [hub(12), hub(600)], ids=["short", "long"])
def test_every_round_is_a_draw_of_its_own(graph):
    """Positions over the steps of one run, where each has new keys."""
    degree = int(graph.indptr[1])
    drawn = neighbors_of(graph, 0, 4, 40_000)
    observed = np.bincount(drawn.ravel(), minlength=degree)
    expected = 40_000 * 4 / degree
    # Counts of draws without replacement vary less than a multinomial's: scale as for a sample.
    statistic = ((observed - expected) ** 2).sum() / expected * (degree - 1) / (degree - 4)
    assert 0.001 < stats.chi2.sf(statistic, degree - 1) < 0.999
    # Steps that follow each other share as many as two draws do by chance.
    shared = [len({*one} & {*other}) for one, other in itertools.pairwise(drawn.tolist())]
    assert np.mean(shared) == pytest.approx(16 / degree, abs=4 * (16 / degree / 40_000) ** 0.5)


def test_power_law_every_neighbour_of_every_vertex():
    """Self loops and parallel edges among them."""
    graph = power_law(num_vertices=300, num_edges=4000)
    sampler = _kernels.NeighborSampler(with_source_keys(graph), 2)
    seeds, fanout, num_draws = np.arange(300), 5, 600
    observed = np.zeros(len(graph.edge_id))
    for seed in range(num_draws):
        sample = sampler.sample(seeds, [fanout], seed, 0, 3, False, True, 8)
        observed[sample.edge_ids] += 1
    observed = observed[graph.edge_id]
    p_values = []
    for vertex in range(300):
        own = observed[graph.indptr[vertex] : graph.indptr[vertex + 1]]
        if len(own) <= fanout:
            assert (own == num_draws).all()
            continue
        # Lists that share sources are drawn together: each is tested by itself.
        expected = num_draws * fanout / len(own)
        scale = (len(own) - 1) / (len(own) - fanout)
        statistic = scale * ((own - expected) ** 2).sum() / expected
        p_values.append(stats.chi2.sf(statistic, len(own) - 1))
    assert len(p_values) > 40
    assert min(p_values) > 0.001 / len(p_values)
    assert 0.4 < np.mean(p_values) < 0.6


def test_parallel_edges_have_keys_of_their_own():
    """Of a list `a a b c`, `a` is first one time in two."""
    graph = Csc.from_edges(4, [1, 1, 2, 3], [0, 0, 0, 0])
    drawn = neighbors_of(graph, 0, 1, 20_000)
    assert stats.chisquare(np.bincount(drawn.ravel(), minlength=4)).pvalue > 0.001


def test_self_loops_are_drawn_as_others():
    graph = Csc.from_edges(5, [0, 1, 2, 3, 4], [0, 0, 0, 0, 0])
    drawn = neighbors_of(graph, 0, 2, 20_000)
    assert stats.chisquare(np.bincount(drawn.ravel(), minlength=5)).pvalue > 0.001


def test_vertices_with_the_same_neighbours_keep_the_same():
    sources = np.tile(np.arange(10, 40), 3)
    graph = Csc.from_edges(40, sources, np.repeat([0, 1, 2], 30))
    sampler = _kernels.NeighborSampler(with_source_keys(graph))
    for step in range(50):
        sample = sampler.sample(np.arange(3), [5], 3, 0, step, False, False, 1)
        one, two, three = sample.src.reshape(3, 5)
        assert (one == two).all() and (two == three).all()
        assert len(sample.vertices) == 3 + 5


def test_both_hops_prefer_the_same_sources():
    graph = clique(40)
    sampler = _kernels.NeighborSampler(with_source_keys(graph))
    for step in range(20):
        sample = sampler.sample(np.zeros(1, dtype=np.int64), [5, 5], 3, 0, step, False, False, 1)
        # The five best of others, and what takes the place of oneself.
        assert len(sample.vertices) <= 1 + 5 + 2


@pytest.mark.parametrize("every", [2, 5, 16])
def test_a_share_of_the_sources_redraws_in_each_step(every):
    rng = np.random.default_rng(1)
    sources = rng.integers(0, 2**32, 20_000).tolist()
    keys = np.array(
        [[entry_key(source, 5, step, every) for source in sources] for step in range(40, 44)]
    )
    changed = (np.diff(keys, axis=0) != 0).mean(axis=1)
    assert changed == pytest.approx(1 / every, abs=4 * (1 / every / 20_000) ** 0.5)
    # After a whole period everyone has drawn once.
    later = np.array([entry_key(source, 5, 40 + every, every) for source in sources])
    assert (later != keys[0]).mean() > 0.999


def test_minibatches_overlap_more_the_longer_keys_last():
    graph = uniform(num_vertices=500, num_edges=20_000)
    sampler = _kernels.NeighborSampler(with_source_keys(graph))
    shares = []
    for every in (1, 4, 16, 64):
        kept = []
        before = None
        for step in range(30):
            sample = sampler.sample(np.arange(20), [4], 3, 0, step, False, True, every)
            edges = set(sample.edge_ids.tolist())
            if before is not None:
                kept.append(len(edges & before) / len(edges))
            before = edges
        shares.append(np.mean(kept))
    assert shares == sorted(shares)
    assert shares[0] < 0.2 and shares[-1] > 0.9


@pytest.mark.parametrize("every", [1, 8])
def test_means_are_unbiased(every):
    """The mean over what was drawn has the mean over all neighbours as its expectation."""
    graph = power_law(num_vertices=200, num_edges=4000, seed=2)
    sampler = _kernels.NeighborSampler(with_source_keys(graph), 2)
    values = np.random.default_rng(4).normal(size=200)
    degrees = np.diff(graph.indptr)
    seeds = np.flatnonzero(degrees > 6)
    exact = np.array(
        [values[graph.indices[graph.indptr[v] : graph.indptr[v + 1]]].mean() for v in seeds]
    )
    num_draws = 3000
    means = np.empty((num_draws, len(seeds)))
    for seed in range(num_draws):
        sample = sampler.sample(seeds, [6], seed, 0, 5, False, False, every)
        means[seed] = values[sample.vertices[sample.src]].reshape(len(seeds), 6).mean(axis=1)
    error = (means.mean(axis=0) - exact) / (means.std(axis=0) / num_draws**0.5 + 1e-12)
    assert np.abs(error).max() < 4.5


def test_owners_draw_as_the_one_who_has_all():
    """Segments of several steps in one question."""
    graph = power_law()
    topology = with_source_keys(graph)
    ids, steps, sizes = np.arange(60), np.array([3, 9, 20]), np.array([10, 30, 20])
    counts, neighbors, _ = _kernels.sample_neighbors(
        topology, ids, steps, sizes, 3, 1, 8, np.array([0, 1, 5]), False, False, 2, 4
    )
    at, number = 0, 0
    for step, size in zip(steps, sizes, strict=True):
        for vertex in ids[at : at + size]:
            alone = _kernels.sample_neighbors(
                topology,
                np.array([vertex]),
                np.array([step]),
                np.array([1]),
                3,
                0,
                8,
                2,
                False,
                False,
                1,
                4,
            )
            assert alone[0][0] == counts[vertex]
            end = number + counts[vertex]
            np.testing.assert_array_equal(alone[1], neighbors[number:end])
            number = end
        at += size


def test_threads_and_repeats_change_nothing():
    graph = uniform()
    topology = with_source_keys(graph)
    one = _kernels.NeighborSampler(topology, 1)
    many = _kernels.NeighborSampler(topology, 4)
    seeds = np.arange(0, 3000, 2)
    for step in (0, 7):
        first = one.sample(seeds, [5, 5], 1, 0, step, False, True, 3)
        assert_equal_arrays(first, many.sample(seeds, [5, 5], 1, 0, step, False, True, 3))
        assert_equal_arrays(first, one.sample(seeds, [5, 5], 1, 0, step, False, True, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": (1 << 31) + 1}, "every must be at most 2147483648, got 2147483649"),
        ({"replace": True}, "draws by key keep a neighbour once; leave out replace"),
        ({"keyed": False}, "draws by key need source keys in every part"),
    ],
)
def test_what_cannot_be_drawn_is_said(options, message):
    graph = clique()
    topology = with_source_keys(graph) if options.get("keyed", True) else topology_of(graph)
    sampler = _kernels.NeighborSampler(topology)
    replace, every = options.get("replace", False), options.get("every", 1)
    with pytest.raises(ValueError, match=message):
        sampler.sample(np.zeros(1, dtype=np.int64), [2], 0, 0, 0, replace, False, every)


def test_keys_that_do_not_fit_are_refused():
    graph = clique(4)
    topology = topology_of(graph)
    with pytest.raises(ValueError, match="source_keys must have one entry per edge: expected 12"):
        topology.set_source_keys(0, np.zeros(11, dtype=np.uint32))
    with pytest.raises(ValueError, match=r"index must be in \[0, 1\), got 1"):
        topology.set_source_keys(1, np.zeros(12, dtype=np.uint32))
    with pytest.raises(ValueError, match="source_keys must be a contiguous"):
        topology.set_source_keys(0, np.zeros(12, dtype=np.int32))
    none = np.zeros(0, dtype=np.int64)
    with pytest.raises(ValueError, match="indices hold vertex 3, whose id in the input is not"):
        _kernels.source_keys(
            graph.indptr, graph.indices, 0, np.arange(3), none, none, np.zeros(12, dtype=np.uint32)
        )
    with pytest.raises(ValueError, match="keys must have one entry per edge: expected 12, got 2"):
        _kernels.source_keys(
            graph.indptr, graph.indices, 0, np.arange(4), none, none, np.zeros(2, dtype=np.uint32)
        )
