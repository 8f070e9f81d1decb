"""Neighbour lists are uniform over their subsets. Seeds are fixed, so the outcome is too."""

import itertools

import numpy as np
import pytest
from nasty_graphs import clique, hub, power_law, topology_of
from scipy import stats

from gnnflow import _kernels


def draws_of(graph, vertex, fanout, num_draws, **vary):
    """Positions drawn from one list `[num_draws, fanout]`, each in a minibatch of its own."""
    first, last = graph.indptr[vertex], graph.indptr[vertex + 1]
    position = {int(edge): i for i, edge in enumerate(graph.edge_id[first:last])}
    number = np.arange(num_draws)
    counts, _, edge_ids = _kernels.sample_neighbors(
        topology_of(graph),
        np.full(num_draws, vertex),
        number if "epochs" not in vary else np.zeros(num_draws, dtype=np.int64),
        np.ones(num_draws, dtype=np.int64),
        fanout,
        vary.get("hop", 0),
        vary.get("seed", 1),
        number if "epochs" in vary else 0,
        vary.get("replace", False),
        True,
        2,
    )
    assert (counts == fanout).all()
    return np.vectorize(position.__getitem__)(edge_ids).reshape(num_draws, fanout)


def p_value(observed, expected):
    return stats.chisquare(observed, expected).pvalue


@pytest.mark.parametrize("vary", [{}, {"epochs": True}, {"hop": 2}, {"seed": 12345}])
def test_star_every_subset_is_as_likely(vary):
    graph = hub(12)
    drawn = draws_of(graph, 0, 4, 60_000, **vary)
    subset = {chosen: i for i, chosen in enumerate(itertools.combinations(range(12), 4))}
    observed = np.bincount([subset[tuple(row)] for row in drawn.tolist()], minlength=len(subset))
    assert p_value(observed, np.full(len(subset), 60_000 / len(subset))) > 0.001


def test_star_with_replacement_every_position_is_as_likely():
    drawn = draws_of(hub(12), 0, 4, 60_000, replace=True)
    observed = np.bincount(drawn.ravel(), minlength=12)
    assert p_value(observed, np.full(12, 20_000)) > 0.001
    repeats = (np.diff(drawn, axis=1) == 0).any(axis=1).mean()
    assert repeats == pytest.approx(1 - 11 * 10 * 9 / 12**3, abs=0.01)


@pytest.mark.parametrize(("degree", "fanout"), [(100, 60), (1000, 7), (5000, 40), (65, 64)])
def test_large_star_positions_and_pairs_of_neighbouring_positions(degree, fanout):
    """Lists too long for counting subsets, drawn by the other ways of keeping what is taken."""
    num_draws = 4000
    drawn = draws_of(hub(degree), 0, fanout, num_draws)
    assert (np.diff(drawn, axis=1) > 0).all()
    observed = np.bincount(drawn.ravel(), minlength=degree)
    expected = num_draws * fanout / degree
    # Counts of draws without replacement vary less than a multinomial's: scale as for a sample.
    statistic = ((observed - expected) ** 2).sum() / expected
    statistic *= (degree - 1) / (degree - fanout)
    assert 0.001 < stats.chi2.sf(statistic, degree - 1) < 0.999
    pairs = (np.diff(drawn, axis=1) == 1).sum()
    share = fanout * (fanout - 1) / (degree * (degree - 1)) * (degree - 1)
    assert pairs == pytest.approx(num_draws * share, rel=0.05, abs=4 * (num_draws * share) ** 0.5)


def test_clique_every_vertex_draws_for_itself():
    """In one minibatch the draws of two vertices are independent."""
    graph = clique(9)
    sampler = _kernels.NeighborSampler(topology_of(graph))
    seeds = np.arange(9)
    chosen = []
    for minibatch in range(8000):
        sample = sampler.sample(seeds, [1], 3, 0, minibatch)
        chosen.append(sample.vertices[sample.src])
    chosen = np.array(chosen)
    for one, other in ((0, 1), (3, 4), (2, 8)):
        table = np.zeros((9, 9))
        np.add.at(table, (chosen[:, one], chosen[:, other]), 1)
        table = np.delete(np.delete(table, one, axis=0), other, axis=1)
        assert p_value(table.ravel(), np.full(64, 8000 / 64)) > 0.001


def test_power_law_every_neighbour_of_every_vertex():
    graph = power_law(num_vertices=300, num_edges=4000)
    sampler = _kernels.NeighborSampler(topology_of(graph), 2)
    seeds, fanout, num_draws = np.arange(300), 5, 600
    observed = np.zeros(len(graph.edge_id))
    for minibatch in range(num_draws):
        sample = sampler.sample(seeds, [fanout], 7, 1, minibatch, False, True)
        observed[sample.edge_ids] += 1
    observed = observed[graph.edge_id]
    statistic, freedom = 0.0, 0
    for vertex in range(300):
        own = observed[graph.indptr[vertex] : graph.indptr[vertex + 1]]
        if len(own) <= fanout:
            assert (own == num_draws).all()
            continue
        expected = num_draws * fanout / len(own)
        scale = (len(own) - 1) / (len(own) - fanout)
        statistic += scale * ((own - expected) ** 2).sum() / expected
        freedom += len(own) - 1
    assert freedom > 2000
    assert 0.001 < stats.chi2.sf(statistic, freedom) < 0.999
