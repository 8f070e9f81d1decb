"""Common rows of a machine: two machines of two ranks each, told apart by name only."""

import numpy as np
import pytest
import torch
from small_graphs import power_law

import gnnflow
from gnnflow.comm.context import HostMap
from gnnflow.config import CacheConfig
from gnnflow.files import shared_array
from gnnflow.loader import DistNeighborLoader
from gnnflow.prefetch import host_rows
from gnnflow.replay import ReplaySettings, replay_trace
from gnnflow.replay.trace import TraceFacts, TraceRecorder

pytestmark = pytest.mark.mpi(4)

NUM_EPOCHS = 3


def make_loader(graph, cache, **options):
    options = {"num_epochs": NUM_EPOCHS, "seed": 4} | options
    return DistNeighborLoader(graph, "train", (3, 2), 8, cache=cache, **options)


def take_all(loader):
    """Returns all batches with what they cost."""
    return [batch for _ in range(NUM_EPOCHS) for batch in loader]


def rows_between_machines(ctx, batches):
    """Rows of features that crossed for all ranks."""
    moved = sum(batch.cost.traffic.rows_fetched for batch in batches)
    return int(ctx.allreduce_sum(np.array([moved]))[0])


@pytest.mark.parametrize("transport", ["auto"])
def test_ranks_of_a_machine_hold_common_rows_once(ctx, parts, transport, monkeypatch):
    monkeypatch.setattr(ctx, "hosts", HostMap((0, 0, 1, 1)))
    graph = gnnflow.DistGraph.open(parts(power_law(), 4, method="random"), ctx)
    expected = take_all(make_loader(graph, None))
    store = graph.store("x")
    moved = {}
    for scope in ("rank", "host"):
        for scorer in ("lookahead", "frequency", "lru"):
            before = store.counts()
            config = CacheConfig(cache_scope=scope, scorer=scorer, cache_fraction=0.5)
            loader = make_loader(graph, config)
            common = loader.cache_setup.rows.host_rows
            assert (common is not None) == (scope == "host" and scorer != "lru")
            batches = take_all(loader)
            for batch, same in zip(batches, expected, strict=True):
                assert torch.equal(batch.x, same.x) and torch.equal(batch.n_id, same.n_id)
            after = store.counts()
            on_device = make_loader(graph, config, device=torch.device("cpu"))
            for batch, same in zip(take_all(on_device), expected, strict=True):
                assert torch.equal(batch.x, same.x)
            # What the books say has crossed is what the store fetched.
            assert after.rows_remote - before.rows_remote == sum(
                batch.cost.traffic.rows_fetched for batch in batches
            )
            moved[scope, scorer] = rows_between_machines(ctx, batches)
            if scorer == "lookahead":
                check_against_replay(loader, batches)
            if common is not None:
                check_common_rows(ctx, graph, loader, batches)
            del batches, batch
    for scorer in ("lookahead", "frequency"):
        assert moved["host", scorer] < 0.95 * moved["rank", scorer]
    assert moved["host", "lru"] == moved["rank", "lru"]
    ctx.barrier()


def check_against_replay(loader, batches):
    setup = loader.cache_setup
    recorder = TraceRecorder(
        TraceFacts(graph="toy", rank=0, num_ranks=4),
        setup.halo.vertices,
        setup.halo.degrees,
        setup.halo.vip,
    )
    for batch in batches:
        recorder.add(batch.cost.remote_ids, subgraph_bytes=batch.cost.subgraph_bytes)
    replay = replay_trace(recorder.trace(), ReplaySettings(capacity=setup.capacity))
    assert replay.rows_hit.tolist() == [
        batch.cost.traffic.rows_hit - batch.cost.rows_on_host for batch in batches
    ]
    fetched = [batch.cost.traffic.rows_missed for batch in batches]
    assert replay.rows_fetched.tolist() == fetched


def check_common_rows(ctx, graph, loader, batches):
    """Both ranks find the same rows, which are of the other machine, within half of the budget."""
    common = loader.cache_setup.rows.host_rows
    group = ctx.ranks_on_host
    assert len(common.shares) == len(group) == 2
    found = common.find(np.arange(graph.num_vertices)) >= 0
    low, high = graph.book.offsets[group[0]], graph.book.offsets[group[1] + 1]
    assert not found[low:high].any()
    assert found.sum() == sum(map(len, common.shares)) > 0
    budget = loader.cache_setup.capacity + len(common.own_share)
    assert len(common.own_share) <= host_rows.SHARE * budget + 1
    assert sum(batch.cost.rows_on_host for batch in batches) > 0
    of_all = ctx.allgather_array(found)
    assert (of_all[group[0]] == of_all[group[1]]).all()


@pytest.mark.parametrize("transport", ["alltoall"])
def test_a_rank_alone_on_its_machine_shares_nothing(ctx, parts, transport):
    graph = gnnflow.DistGraph.open(parts(power_law(), 4, method="random"), ctx)
    loader = make_loader(graph, CacheConfig(cache_scope="host"))
    assert loader.cache_setup.rows.host_rows is None and loader.cache_setup.capacity > 0
    ctx.barrier()


@pytest.mark.parametrize("transport", ["auto"])
def test_no_room_in_shared_memory(ctx, parts, transport, monkeypatch):
    monkeypatch.setattr(ctx, "hosts", HostMap((0, 0, 1, 1)))
    graph = gnnflow.DistGraph.open(parts(power_law(), 4, method="random"), ctx)

    def refuse(handle, start, num_bytes):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shared_array.os, "posix_fallocate", refuse)
    with pytest.raises(gnnflow.errors.DataError, match="use --cache-scope rank"):
        make_loader(graph, CacheConfig())
    ctx.barrier()
