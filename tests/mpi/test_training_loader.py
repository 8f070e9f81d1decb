"""What DistNeighborLoader yields."""

import numpy as np
import pytest
import torch
from small_graphs import power_law
from torch_geometric.data import Data

import gnnflow
from gnnflow.config import CacheConfig
from gnnflow.errors import ConfigError, DataError
from gnnflow.loader import DistNeighborLoader, SeedSchedule

pytestmark = pytest.mark.mpi(1, 2, 4)


@pytest.fixture
def graph(ctx, parts):
    return gnnflow.DistGraph.open(parts(power_law(), ctx.num_ranks), ctx)


def rows_of(name, original_ids):
    return torch.from_numpy(power_law().arrays[name].rows(np.asarray(original_ids)))


@pytest.mark.parametrize("transport", ["auto", "alltoall"])
def test_fields(graph, transport):
    raw = power_law()
    loader = DistNeighborLoader(graph, "train", [3, 2], 16, adj_t=True, edge_ids=True)
    seeds = []
    assert len(loader) == -(-len(raw.splits["train"]) // (16 * graph.num_parts))
    for step, batch in enumerate(loader):
        assert isinstance(batch, Data)
        num_vertices, num_edges = len(batch.n_id), batch.edge_index.shape[1]
        original = graph.to_original(batch.n_id.numpy())
        assert batch.x.dtype == torch.float32 and torch.equal(batch.x, rows_of("x", original))
        assert batch.y.dtype == torch.int64
        assert torch.equal(batch.y, rows_of("y", original[: batch.batch_size]))
        assert batch.n_id.dtype == batch.edge_index.dtype == batch.input_id.dtype == torch.int64
        assert sum(batch.num_sampled_nodes) == num_vertices
        assert sum(batch.num_sampled_edges) == num_edges
        assert batch.num_sampled_nodes[0] == batch.batch_size == len(batch.input_id)
        assert (len(batch.num_sampled_nodes), len(batch.num_sampled_edges)) == (3, 2)
        assert batch.minibatch == step * graph.num_parts + graph.ctx.rank
        assert graph.ctx.loss_weight == batch.loss_weight
        split = graph.splits["train"][batch.input_id.numpy()]
        assert np.array_equal(split, batch.n_id[: batch.batch_size].numpy())
        ends = original[batch.edge_index.numpy()]
        assert np.array_equal(ends, np.asarray(raw.edges)[:, batch.e_id.numpy()])
        dense = torch.zeros(num_vertices, num_vertices)
        dense.index_put_(tuple(batch.edge_index.flip(0)), torch.ones(num_edges), accumulate=True)
        assert torch.equal(batch.adj_t.to_dense(), dense)
        assert batch.cost.sample_s > 0 and batch.cost.fetch_s > 0
        seeds += split.tolist()
    assert sorted(seeds) == graph.splits["train"].tolist()


def test_page_locked_memory_is_for_gpus(graph):
    if torch.cuda.is_available():
        loader = DistNeighborLoader(graph, "train", [3, 2], 16, pin_memory=True)
        assert all(batch.x.is_pinned() for batch in loader)
    else:
        with pytest.raises(ConfigError, match="pin_memory needs a GPU"):
            DistNeighborLoader(graph, "train", [3, 2], 16, pin_memory=True)


def test_epochs(graph):
    loader = DistNeighborLoader(graph, "train", [3, 2], 16, seed=5)

    def one_pass():
        return [(batch.n_id, batch.edge_index) for batch in loader]

    def same(left, right):
        return all(
            torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
            for a, b in zip(left, right, strict=True)
        )

    first, second = one_pass(), one_pass()
    loader.set_epoch(0)
    assert same(one_pass(), first) and same(one_pass(), second)
    assert not same(first, second)
    for first_step in (2, len(loader)):
        loader.set_epoch(0, first_step=first_step)
        assert same(one_pass(), first[first_step:]) and same(one_pass(), second)
    with pytest.raises(ConfigError, match=r"first_step must be in \[0, \d+\], got -1"):
        loader.set_epoch(0, first_step=-1)
    other = DistNeighborLoader(graph, "train", [3, 2], 16, seed=6)
    assert loader.schedule.digest not in (other.schedule.digest, "")
    again = DistNeighborLoader(graph, "train", [3, 2], 16, seed=5)
    assert loader.schedule.digest == again.schedule.digest
    assert not same(first, [(batch.n_id, batch.edge_index) for batch in other])


def test_minibatches_are_functions_of_their_seeds(graph):
    """A pipeline may make them in any order, many at a time."""
    loader = DistNeighborLoader(graph, "train", [3, 2], 16)
    expected = list(loader)
    batches = [loader.schedule.batch(0, step) for step in range(len(loader))]
    maker = loader.maker
    for sampled, batch in zip(maker.sample(batches[::-1]), expected[::-1], strict=True):
        maker.announce(sampled)
        maker.ask([maker.plan(sampled)])
        made = maker.complete(sampled)
        assert torch.equal(made.n_id, batch.n_id)
        assert torch.equal(made.x, batch.x)
        assert torch.equal(made.edge_index, batch.edge_index)


def test_further_arrays(graph):
    loader = DistNeighborLoader(graph, "val", [2], 64, arrays=("x", "y", "half", "cube", "scalar"))
    for batch in loader:
        original = graph.to_original(batch.n_id.numpy())
        for name in ("x", "y", "half", "cube", "scalar"):
            assert torch.equal(batch[name], rows_of(name, original))


def test_own_seeds_of_each_rank(graph):
    low, high = graph.book.range(graph.ctx.rank)
    loader = DistNeighborLoader(graph, np.arange(low, high), [2], 10, shuffle=False)
    assert torch.equal(torch.cat([batch.input_id for batch in loader]), torch.arange(high - low))
    nothing = np.empty(0, dtype=np.int64)
    on_rank_0 = np.arange(5) if graph.ctx.rank == 0 else nothing
    sizes = [batch.batch_size for batch in DistNeighborLoader(graph, on_rank_0, [2], 1)]
    assert sum(sizes) == len(on_rank_0)
    assert len(DistNeighborLoader(graph, nothing, [2], 1)) == 0


def test_what_a_pyg_user_types(graph):
    """A mask of the whole graph is the split; forms of a fanout are the same."""
    mask = torch.zeros(graph.num_vertices, dtype=torch.bool)
    mask[torch.from_numpy(power_law().splits["train"])] = True
    expected = list(DistNeighborLoader(graph, "train", [3, 2], 16))
    same = DistNeighborLoader(
        graph,
        input_nodes=mask,
        num_neighbors="3,2",
        batch_size=torch.tensor(16),
        num_workers=0,
        persistent_workers=False,
    )
    for batch, other in zip(same, expected, strict=True):
        assert torch.equal(batch.n_id, other.n_id) and torch.equal(batch.x, other.x)
    own = mask[torch.from_numpy(np.array(graph.partition.original_id))]
    for seeds in (own, own.numpy()):
        loader = DistNeighborLoader(graph, seeds, np.array([3, 2]), np.int64(16))
        assert loader.schedule.digest == same.schedule.digest
    low, high = graph.book.range(graph.ctx.rank)
    every = DistNeighborLoader(graph, None, 2, arrays="x")
    assert every.schedule.seeds.tolist() == list(range(low, high))


def test_seeds_of_other_ranks(graph):
    """Seeds need not be inner vertices."""
    schedule = SeedSchedule.from_batches([[0, graph.num_vertices - 1]], graph.ctx)
    [batch] = DistNeighborLoader(graph, schedule, [2])
    original = graph.to_original(batch.n_id.numpy())
    assert batch.n_id[:2].tolist() == [0, graph.num_vertices - 1]
    assert torch.equal(batch.x, rows_of("x", original))
    assert torch.equal(batch.y, rows_of("y", original[:2]))


def test_empty_batch(graph):
    schedule = SeedSchedule.from_batches([[]], graph.ctx)
    [batch] = DistNeighborLoader(graph, schedule, [3, 2], adj_t=True, edge_ids=True)
    assert batch.x.shape == (0, 7) and batch.y.shape == (0,)
    assert batch.edge_index.shape == (2, 0) and batch.adj_t.shape == (0, 0)
    assert batch.num_sampled_nodes == [0, 0, 0] and batch.num_sampled_edges == [0, 0]
    assert batch.loss_weight == 0.0


def test_with_replacement(graph):
    loader = DistNeighborLoader(graph, "train", [9], 16, replace=True)
    for batch in loader:
        degree = graph.store("in_degree").fetch(batch.n_id[: batch.batch_size].numpy())
        drawn = torch.bincount(batch.edge_index[1], minlength=batch.batch_size)
        assert np.array_equal(drawn.numpy(), np.where(degree > 0, 9, 0))


def test_transform(graph):
    def mark(batch):
        batch.marked = batch.num_nodes
        return batch

    loader = DistNeighborLoader(graph, "train", [2], 64, transform=mark)
    assert all(batch.marked == len(batch.n_id) for batch in loader)


def test_to_another_device(graph):
    loader = DistNeighborLoader(graph, "train", [2], 64, adj_t=True)
    batch = next(iter(loader)).to("meta")
    assert batch.x.device.type == batch.edge_index.device.type == "meta"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"seeds": "trian"}, DataError, "no split 'trian'; it has: train, val, test"),
        ({"seeds": [0, 600]}, DataError, r"global ids in \[0, 600\), got 0 to 600"),
        ({"seeds": [-1]}, DataError, "got -1 to -1"),
        ({"fanout": []}, ConfigError, r"fanout needs a number for each hop.*got \[\]"),
        ({"fanout": [2, 0]}, ConfigError, r"got \[2, 0\]"),
        ({"batch_size": 0}, ConfigError, "batch_size must be at least 1, got 0"),
        ({"batch_size": 2.5}, ConfigError, "batch_size must be a whole number, got 2.5"),
        ({"seeds": np.ones(7, dtype=bool)}, DataError, r"seeds is a mask of shape \[7\]"),
        ({"seeds": [0.5]}, DataError, "whole vertex ids, got shape .1. of float64"),
        ({"seed": 0.5}, ConfigError, "seed must be a whole number"),
        ({"num_epochs": "3"}, ConfigError, "num_epochs must be a whole number, got '3'"),
        ({"transform": 5}, ConfigError, "transform must be a function of a batch, got 5"),
        ({"arrays": ["z"]}, DataError, "no array 'z'"),
        ({"drop_last": True}, ConfigError, "drop_last=True has no meaning here"),
        ({"cache": False}, ConfigError, "cache must be a CacheConfig, or None.*got False"),
        ({"cache": None, "policy": "atuo"}, ConfigError, "unknown policy 'atuo'.*'auto'"),
        ({"cache": None, "policy": "auto"}, ConfigError, "'auto' steers the halo cache, which"),
        ({"policy": 5}, ConfigError, "policy must be a name, a PolicyConfig or an object"),
    ],
)
def test_bad_options(graph, options, error, message):
    with pytest.raises(error, match=message):
        DistNeighborLoader(graph, **options)
    with pytest.raises(ConfigError, match="graph must be a gnnflow.DistGraph, got a Data;"):
        DistNeighborLoader(Data(), **options)


def test_a_policy_without_a_cache_to_steer_is_said(graph, caplog):
    loader = DistNeighborLoader(graph, policy="auto", cache=CacheConfig(cache_fraction=0.0))
    assert loader.policy is None
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == (graph.ctx.rank == 0)
    assert all(line.startswith("policy 'auto' has nothing to steer") for line in said)


@pytest.mark.parametrize("transport", ["auto", "alltoall", "rma"])
@pytest.mark.parametrize("halo_hops", [0, 1])
def test_edge_attributes(ctx, parts, transport, halo_hops):
    """Rows of edges come from the owner of the destination, multi-edges and self loops too."""
    raw = power_law()
    options = {"halo_hops": 1} if halo_hops else {}
    graph = gnnflow.DistGraph.open(parts(raw, ctx.num_ranks, **options), ctx)
    assert graph.edges.array_names == ("edge_attr", "edge_id") and graph.edges.num_features == 1
    ends = np.asarray(raw.edges)
    expected = raw.edge_attr
    for options in ({}, {"edge_ids": True}, {"replace": True, "cache": CacheConfig()}):
        loader = DistNeighborLoader(graph, "train", [5, 4], 16, edge_attr=True, **options)
        plain = DistNeighborLoader(
            graph, "train", [5, 4], 16, edge_ids=True, replace="replace" in options
        )
        for batch, same in zip(loader, plain, strict=True):
            assert torch.equal(batch.edge_index, same.edge_index)
            assert batch.edge_attr.dtype == torch.float32
            assert torch.equal(batch.edge_attr, torch.from_numpy(expected[same.e_id.numpy()]))
            original = graph.to_original(batch.n_id.numpy())
            # The attribute of the test graph is the number of the edge.
            numbers = batch.edge_attr.long().numpy()
            assert np.array_equal(original[batch.edge_index.numpy()], ends[:, numbers])
            if "edge_ids" in options:
                assert torch.equal(batch.e_id, same.e_id)
            else:
                assert "e_id" not in batch


def test_original_ids_and_back(graph):
    ids = np.random.default_rng(graph.ctx.rank).permutation(graph.num_vertices)
    assert np.array_equal(graph.to_global(graph.to_original(ids)), ids)
    assert graph.to_global(ids[:6].reshape(2, 3)).shape == (2, 3)
    with pytest.raises(DataError, match=r"original ids must be in \[0, 600\), got 600 to 600"):
        graph.to_global(np.array([600]))
