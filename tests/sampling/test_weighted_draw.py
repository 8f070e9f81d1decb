"""Draws by weight: the kernel is the plain one, frequencies are those of an exact enumeration."""

import itertools
import math

import numpy as np
import pytest
from nasty_graphs import ALL, hub, power_law, topology_of, uniform, with_source_keys
from plain_sampler import (
    Csc,
    assert_equal_arrays,
    assert_same,
    keyed_weighted_positions,
    plain_sample,
)
from scipy import stats

from gnnflow import _kernels

FANOUTS = ((0, [2, 3]), (5, [4]), (48, [1, 1, 1]), (49, [-1, 2]), (50, [0, 2]))


def some_weights(graph, seed=0, share_of_zeros=0.3):
    """Of many magnitudes, some 0, and some lists of nothing else."""
    rng = np.random.default_rng(seed)
    weights = np.exp(rng.normal(0, 2, len(graph.indices))).astype(np.float32)
    weights[rng.random(len(weights)) < share_of_zeros] = 0
    for vertex in range(0, graph.num_vertices, 7):
        weights[graph.indptr[vertex] : graph.indptr[vertex + 1]] = 0
    return weights


def kept(weights, fanout, num_draws, *, every=0, replace=False, seed=1):
    """Entries kept of one list, a row of a bool for each entry for each draw."""
    size = len(weights)
    graph = Csc.from_edges(size + 1, np.arange(1, size + 1), np.zeros(size, dtype=np.int64))
    topology = with_source_keys(graph, weights=np.asarray(weights, dtype=np.float32))
    counts, neighbors, _ = _kernels.sample_neighbors(
        topology,
        np.zeros(num_draws, dtype=np.int64),
        np.arange(num_draws),
        np.ones(num_draws, dtype=np.int64),
        fanout,
        0,
        seed,
        0,
        replace,
        every=every,
        weighted=True,
    )
    found = np.zeros((num_draws, size), dtype=np.int64)
    np.add.at(found, (np.repeat(np.arange(num_draws), counts), neighbors - 1), 1)
    return found


def chances_of_subsets(weights, fanout):
    """Of drawing one after the other, each with the chance that its weight has among the rest."""
    chances = {}
    for order in itertools.permutations(range(len(weights)), fanout):
        chance, left = 1.0, math.fsum(weights)
        for entry in order:
            chance *= weights[entry] / left
            left -= weights[entry]
        subset = tuple(sorted(order))
        chances[subset] = chances.get(subset, 0.0) + chance
    return chances


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("every", [0, 1, 3, 16])
@pytest.mark.parametrize("name", ALL)
def test_every_draw_is_that_of_the_plain_sampler(name, every, num_threads):
    graph = ALL[name]()
    original_id = np.random.default_rng(5).permutation(graph.num_vertices)
    weights = some_weights(graph)
    topology = with_source_keys(graph, original_id, weights=weights)
    sampler = _kernels.NeighborSampler(topology, num_threads)
    rng = np.random.default_rng(7)
    for step, fanouts in FANOUTS:
        seeds = rng.permutation(graph.num_vertices)[: min(graph.num_vertices, 60)]
        arrays = sampler.sample(seeds, fanouts, 11, 2, step, False, True, every, True)
        given = {"original_id": original_id, "every": every, "weights": weights}
        assert_same(arrays, plain_sample(graph, seeds, fanouts, 11, 2, step, **given))


@pytest.mark.parametrize("name", ALL)
def test_with_replacement_it_is_that_of_the_plain_sampler(name):
    graph = ALL[name]()
    weights = some_weights(graph)
    sampler = _kernels.NeighborSampler(topology_of(graph, weights=weights), 2)
    for step, fanouts in FANOUTS:
        seeds = np.arange(min(graph.num_vertices, 60))
        arrays = sampler.sample(seeds, fanouts, 11, 2, step, True, True, weighted=True)
        expected = plain_sample(graph, seeds, fanouts, 11, 2, step, replace=True, weights=weights)
        assert_same(arrays, expected)


@pytest.mark.parametrize("every", [0, 1, 2])
@pytest.mark.parametrize("degree", [1, 2, 63, 64, 65, 1023, 1024, 1025, 5000])
def test_lists_of_every_length_and_all_fanouts(degree, every):
    graph = hub(degree)
    for zeros in (0.0, 0.5, 0.99):
        rng = np.random.default_rng(degree)
        weights = rng.exponential(1, len(graph.indices)).astype(np.float32)
        weights[rng.random(len(weights)) < zeros] = 0
        sampler = _kernels.NeighborSampler(with_source_keys(graph, weights=weights))
        seeds = np.zeros(1, dtype=np.int64)
        for fanout in {1, 2, degree // 3, degree - 1, degree, degree + 5}:
            arrays = sampler.sample(seeds, [fanout], 3, 0, 9, False, True, every, True)
            given = {"every": every, "weights": weights}
            assert_same(arrays, plain_sample(graph, seeds, [fanout], 3, 0, 9, **given))


@pytest.mark.parametrize("every", [0, 1])
@pytest.mark.parametrize(
    ("weights", "fanout"),
    [([1, 2, 3, 4], 1), ([1, 2, 3, 4], 2), ([5, 1, 1, 0.5, 8], 3), ([1e-3, 1, 1e3, 2, 2], 2)],
)
def test_subsets_come_as_often_as_an_exact_enumeration_says(weights, fanout, every):
    num_draws = 40_000
    found = kept(weights, fanout, num_draws, every=every)
    assert (found.sum(axis=1) == fanout).all()
    chances = chances_of_subsets(weights, fanout)
    assert math.fsum(chances.values()) == pytest.approx(1)
    number = {subset: i for i, subset in enumerate(chances)}
    drawn = [number[tuple(np.flatnonzero(row).tolist())] for row in found]
    observed = np.bincount(drawn, minlength=len(chances))
    expected = np.array(list(chances.values())) * num_draws
    few = expected < 8  # together, or the statistic is none
    if few.any():
        observed = np.append(observed[~few], observed[few].sum())
        expected = np.append(expected[~few], expected[few].sum())
    assert stats.chisquare(observed, expected).pvalue > 0.001
    # Of each entry by itself.
    inclusion = np.zeros(len(weights))
    for subset, chance in chances.items():
        inclusion[list(subset)] += chance
    assert found.mean(axis=0) == pytest.approx(inclusion, abs=4 / num_draws**0.5)


def test_with_replacement_entries_come_as_their_weights_say():
    weights = np.array([1, 0, 2, 3, 0, 4.0])
    found = kept(weights, 5, 20_000, replace=True)
    assert (found.sum(axis=1) == 5).all() and not found[:, weights == 0].any()
    drawable = weights > 0
    observed = found.sum(axis=0)[drawable]
    expected = weights[drawable] / weights.sum() * observed.sum()
    assert stats.chisquare(observed, expected).pvalue > 0.001


@pytest.mark.parametrize("every", [0, 1, 5])
def test_weight_zero_is_never_kept_not_even_to_fill_the_fanout(every):
    weights = [0, 3, 0, 1, 0, 2]
    for fanout in (1, 2, 3, 4, 6, 10):
        found = kept(weights, fanout, 500, every=every)
        assert (found.sum(axis=1) == min(fanout, 3)).all()
        assert not found[:, [0, 2, 4]].any()
    assert not kept([0, 0, 0], 2, 50, every=every).any()
    # All is all: nothing is drawn then.
    assert (kept(weights, -1, 50, every=every) == 1).all()
    assert not kept([0, 0], 2, 50, replace=True).any()


def test_parallel_edges_count_with_their_own_weights():
    """Of `a a b` with weights 1, 3 and 4 an edge of `a` is kept one time in two, mostly one."""
    graph = Csc.from_edges(3, [1, 1, 2], [0, 0, 0])
    weights = np.array([1, 3, 4], dtype=np.float32)
    for every in (0, 1):
        topology = with_source_keys(graph, weights=weights)
        num_draws = 20_000
        _, _, edge_ids = _kernels.sample_neighbors(
            topology,
            np.zeros(num_draws, dtype=np.int64),
            np.arange(num_draws),
            np.ones(num_draws, dtype=np.int64),
            *(1, 0, 1, 0),
            with_edge_ids=True,
            every=every,
            weighted=True,
        )
        observed = np.bincount(edge_ids, minlength=3)
        assert stats.chisquare(observed, weights / 8 * num_draws).pvalue > 0.001


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("weight", [1.0, 0.37, 1e-30, 3e38])
def test_equal_weights_keep_what_draws_by_key_keep(every, weight):
    graph = power_law()
    weights = np.full(len(graph.indices), weight, dtype=np.float32)
    topology = with_source_keys(graph, weights=weights)
    sampler = _kernels.NeighborSampler(topology, 2)
    for step in range(5):
        one = sampler.sample(np.arange(50), [4, 3], 1, 0, step, False, True, every, False)
        other = sampler.sample(np.arange(50), [4, 3], 1, 0, step, False, True, every, True)
        assert_equal_arrays(one, other)


def test_all_destinations_of_a_step_prefer_the_same_sources():
    sources = np.tile(np.arange(10, 40), 3)
    graph = Csc.from_edges(40, sources, np.repeat([0, 1, 2], 30))
    weights = np.tile(np.arange(1, 31, dtype=np.float32), 3)
    sampler = _kernels.NeighborSampler(with_source_keys(graph, weights=weights))
    for step in range(20):
        sample = sampler.sample(np.arange(3), [5], 3, 0, step, False, False, 1, True)
        assert len(sample.vertices) == 3 + 5


def test_threads_and_repeats_change_nothing():
    graph = uniform()
    topology = with_source_keys(graph, weights=some_weights(graph))
    one, many = (_kernels.NeighborSampler(topology, threads) for threads in (1, 4))
    seeds = np.arange(0, 3000, 2)
    for every, step in itertools.product((0, 3), (0, 7)):
        rule = (seeds, [5, 5], 1, 0, step, False, True, every, True)
        first = one.sample(*rule)
        assert_equal_arrays(first, many.sample(*rule))
        assert_equal_arrays(first, one.sample(*rule))


def test_weights_that_are_not_used_change_nothing():
    graph = uniform()
    weights = some_weights(graph)
    with_weights, without = topology_of(graph, weights=weights), topology_of(graph)
    one, other = (_kernels.NeighborSampler(each, 2) for each in (with_weights, without))
    rule = (np.arange(500), [5, 5], 1, 0, 3, False, True)
    assert_equal_arrays(one.sample(*rule), other.sample(*rule))


def test_weights_that_do_not_fit_are_refused():
    graph = hub(4)
    sampler = _kernels.NeighborSampler(topology_of(graph))
    with pytest.raises(ValueError, match="draws by weight need weights in every part"):
        sampler.sample(np.zeros(1, dtype=np.int64), [2], 0, 0, 0, weighted=True)
    with pytest.raises(ValueError, match="weight must have one entry per edge: expected 6, got 5"):
        topology_of(graph, weights=np.ones(5, dtype=np.float32))
    with pytest.raises(ValueError, match="weight must be a contiguous one-dim.*float32"):
        topology_of(graph, weights=np.ones(6))


@pytest.mark.parametrize("degree", [8, 700, 1024, 1500])
@pytest.mark.parametrize("num_close", [2, 5, 8])
def test_keys_that_differ_by_little_are_told_apart(degree, num_close):
    """Of equal keys the first positions count, of others the smaller, however close they are."""
    graph = hub(degree)
    rng = np.random.default_rng(num_close)
    keys = np.arange(len(graph.indices), dtype=np.uint32) * 65_537
    weights = np.ones(len(keys), dtype=np.float32)
    close = rng.choice(degree, num_close, replace=False)
    keys[close] = keys[close[0]]
    for place, entry in enumerate(close[: num_close // 2 + 1]):  # the others stay equal
        weights[entry] = 1 + place * np.finfo(np.float32).eps
    topology = topology_of(graph, weights=weights)
    topology.set_source_keys(0, keys)
    sampler = _kernels.NeighborSampler(topology)
    for fanout in (1, 3, 5, degree // 2, degree - 1):
        for step in range(40):
            rule = (fanout, 3, step, 1)
            expected = keyed_weighted_positions(keys[:degree], weights[:degree], *rule)
            seeds = np.zeros(1, dtype=np.int64)
            arrays = sampler.sample(seeds, [fanout], 3, 0, step, False, True, 1, True)
            assert arrays.edge_ids.tolist() == graph.edge_id[expected].tolist()
