import dataclasses

import numpy as np
import pytest
from nasty_graphs import power_law, topology_of

from gnnflow.sampling import LocalNeighborSampler


@pytest.fixture
def subgraph():
    sampler = LocalNeighborSampler(topology_of(power_law()))
    return sampler.sample(np.arange(30), [4, 3], epoch=0, minibatch=0)


def test_counts(subgraph):
    assert subgraph.num_seeds == 30
    assert subgraph.num_vertices == sum(subgraph.num_sampled_vertices) == len(subgraph.vertices)
    assert subgraph.num_edges == sum(subgraph.num_sampled_edges) == len(subgraph.src)
    assert subgraph.num_expanded == sum(subgraph.num_sampled_vertices[:-1])


def test_edge_index_is_sources_over_destinations_grouped_by_hop(subgraph):
    edge_index = subgraph.edge_index()
    assert edge_index.shape == (2, subgraph.num_edges)
    assert edge_index.dtype == np.int64
    np.testing.assert_array_equal(edge_index[0], subgraph.src)
    np.testing.assert_array_equal(
        np.bincount(edge_index[1], minlength=subgraph.num_expanded), np.diff(subgraph.indptr)
    )
    assert (np.diff(edge_index[1]) >= 0).all()
    first_hop = subgraph.num_sampled_edges[0]
    assert edge_index[1, :first_hop].max() < subgraph.num_seeds <= edge_index[1, first_hop]


def test_it_is_frozen(subgraph):
    with pytest.raises(dataclasses.FrozenInstanceError):
        subgraph.src = None
