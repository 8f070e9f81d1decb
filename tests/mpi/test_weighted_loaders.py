"""Loaders, caches and traces where neighbours are drawn by the weights of edges."""

import numpy as np
import pytest
from small_graphs import weighted_power_law
from torch import nn

import gnnflow
from gnnflow.config import CacheConfig
from gnnflow.errors import ConfigError, DataError
from gnnflow.loader import DistLinkNeighborLoader, DistNeighborLoader, LoaderOptions
from gnnflow.replay import read_trace
from gnnflow.training.records.run_trace import RunTrace

pytestmark = pytest.mark.mpi(1, 2, 4)

FANOUT = [3, 2]
DRAWS = ["independent", "shared", "dependent"]
CONFIGS = [
    CacheConfig(),
    CacheConfig(lookahead=3, cache_fraction=0.1, prefetch_depth=2),
    CacheConfig(scorer="vip", cache_fill="vip", cache_fraction=0.2),
]


@pytest.fixture
def graph(ctx, parts):
    shares = {"val_edges": 0.1, "test_edges": 0.1}
    folder = parts(weighted_power_law(), ctx.num_ranks, method="random", **shares)
    return gnnflow.DistGraph.open(folder, ctx)


def options_of(draw):
    return {"seed": 3, "draw": draw, "draw_every": 4, "weight_attr": "weight"}


@pytest.mark.parametrize("transport", ["alltoall"])
@pytest.mark.parametrize("draw", DRAWS)
def test_minibatches_are_those_of_the_sampler_with_every_cache(graph, draw, transport):
    sampler = graph.sampler(**options_of(draw))
    for config in [None, *CONFIGS]:
        loader = DistNeighborLoader(
            graph, "train", FANOUT, 16, cache=config, num_epochs=2, edge_attr=True,
            **options_of(draw),
        )  # fmt: skip
        for epoch in range(2):
            for step, batch in enumerate(loader):
                expected = sampler.sample(
                    *(batch.n_id[: batch.batch_size].numpy(), FANOUT),
                    epoch=epoch,
                    minibatch=batch.minibatch,
                    step=epoch * len(loader) + step,
                )
                np.testing.assert_array_equal(batch.n_id.numpy(), expected.vertices)
                np.testing.assert_array_equal(batch.edge_index.numpy(), expected.edge_index())
                # They are for drawing; a model is not handed any.
                assert "edge_weight" not in batch
                # The attributes of the tests' graphs are the numbers of the edges.
                weights = weighted_power_law().edge_weight
                assert (weights[batch.edge_attr.numpy().astype(np.int64)] > 0).all()


@pytest.mark.parametrize("draw", DRAWS)
def test_links(graph, draw):
    loader = DistLinkNeighborLoader(
        graph, "train", FANOUT, 64, neg_sampling="binary", **options_of(draw)
    )
    sampler = graph.sampler(**options_of(draw))
    for step, batch in enumerate(loader):
        expected = sampler.sample(
            *(batch.n_id[: batch.batch_size].numpy(), FANOUT),
            epoch=0,
            minibatch=batch.minibatch,
            step=step,
        )
        np.testing.assert_array_equal(batch.n_id.numpy(), expected.vertices)
    # Edges that are asked about leave what was drawn.
    without = DistLinkNeighborLoader(
        graph, "train", FANOUT, 64, exclude_targets=True, **options_of(draw)
    )
    for batch in without:
        asked = {*map(tuple, batch.edge_label_index.T.tolist())}
        asked |= {(destination, source) for source, destination in asked}
        assert not asked & {*map(tuple, batch.edge_index.T.tolist())}


@pytest.mark.parametrize("transport", ["alltoall"])
def test_a_trace_says_by_which_weights(graph, ctx, transport, tmp_path):
    loader = DistNeighborLoader(graph, "train", FANOUT, 16, **options_of("shared"))
    trace = RunTrace(tmp_path, graph, loader, nn.Linear(1, 1), fanout=tuple(FANOUT), batch_size=16)
    path = trace.save()
    assert read_trace(path).facts.draw == "shared, by weight"
    # Without weights nothing is said.
    plain = DistNeighborLoader(graph, "train", FANOUT, 16, draw="shared")
    path = RunTrace(
        tmp_path, graph, plain, nn.Linear(1, 1), fanout=tuple(FANOUT), batch_size=16
    ).save()
    facts = read_trace(path).facts
    assert "weight_attr" not in facts.settings and facts.draw == "shared"


def test_bad_names(graph):
    with pytest.raises(DataError, match="no edge weights 'edge_weight'; it has: weight$"):
        DistNeighborLoader(graph, "train", FANOUT, weight_attr="edge_weight")
    with pytest.raises(DataError, match="no edge weights 'edge_weight'; it has: weight$"):
        DistLinkNeighborLoader(graph, "train", FANOUT, weight_attr="edge_weight")
    with pytest.raises(ConfigError, match="weight_attr must be the name of edge weights, got 3"):
        LoaderOptions(weight_attr=3)
