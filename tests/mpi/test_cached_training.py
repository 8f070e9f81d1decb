"""Cache and prefetching change what moves and when, and nothing that is computed."""

import dataclasses
import functools
import threading
import time

import numpy as np
import pytest
import torch
from small_graphs import NUM_CLASSES, power_law
from torch_geometric.nn import GraphSAGE

import gnnflow
from gnnflow.config import DEFAULT_CACHE, CacheConfig, TrainConfig
from gnnflow.errors import GnnflowError
from gnnflow.loader import DistNeighborLoader
from gnnflow.models import make_model
from gnnflow.replay import ReplaySettings, read_trace, replay_trace
from gnnflow.training import evaluate, wrap
from gnnflow.training.checkpoints.of_run import CachedVertices
from gnnflow.training.records.run_trace import RunTrace
from gnnflow.training.records.step_metrics import EpochRecorder
from gnnflow.training.tasks import task_of
from gnnflow.training.trainer import Trainer, attach_layers

pytestmark = pytest.mark.mpi(1, 2)

FANOUT = (3, 2)
NUM_EPOCHS = 3
ROW_BYTES = 7 * 4
CONFIGS = [
    CacheConfig(),
    CacheConfig(prefetch_depth=0),
    CacheConfig(scorer="none", prefetch_depth=3, exchange_every=2),
    CacheConfig(lookahead=0, cache_bytes=20 * ROW_BYTES, exchange_every=3),
    CacheConfig(lookahead=5, cache_fraction=0.1, prefetch_depth=4),
    CacheConfig(cache_fraction=0.1, prefetch_depth=1, fetch_early_bytes=20_000),
    CacheConfig(cache_fraction=0.2, exchange_every=2, fetch_early_bytes=1 << 20),
    CacheConfig(scorer="vip", cache_fill="vip", prefetch_depth=1, exchange_every=2),
    CacheConfig(scorer="frequency", cache_fill="random", cache_fraction=1.0),
    CacheConfig(scorer="lru", cache_fill="degree", period=3, prefetch_depth=0, exchange_every=4),
    CacheConfig(scorer="decay", alpha=0.1, period=4, cache_fill="degree"),
    CacheConfig(scorer="decay", cache_fraction=0.5, prefetch_depth=5),
]


def open_graph(ctx, parts):
    return gnnflow.DistGraph.open(parts(power_law(), ctx.num_ranks, method="random"), ctx)


def own_threads():
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name in ("gnnflow-sample", "gnnflow-ask", "gnnflow-complete")]


def make_loader(graph, cache, **options):
    options = {"batch_size": 16, "num_epochs": NUM_EPOCHS, "seed": 4} | options
    return DistNeighborLoader(graph, "train", FANOUT, cache=cache, **options)


def train(graph, cache, folder=None, **options):
    """Trains a few epochs; returns the losses of all steps, the epochs' metrics and the loader."""
    torch.manual_seed(0)
    wrapped = wrap(make_model("sage", [7, 8, NUM_CLASSES]), graph.ctx)
    loader = make_loader(graph, cache, transform=attach_layers, **options)
    trace = None
    if folder is not None:
        trace = RunTrace(folder, graph, loader, wrapped, fanout=FANOUT, batch_size=16)
    recorder = EpochRecorder(graph.ctx)
    optimizer = torch.optim.Adam(wrapped.parameters(), lr=0.01)
    recorders = [] if trace is None else [trace]
    trainer = Trainer(
        wrapped, loader, optimizer, task_of(graph.manifest), recorder, recorders=recorders
    )
    losses, epochs = [], []
    for epoch in range(NUM_EPOCHS):
        epochs.append(trainer.train_epoch(epoch))
        losses += recorder.job_losses
    assert not own_threads()
    if trace is not None:
        trace.save()
    return losses, epochs, loader


@pytest.mark.parametrize("transport", ["alltoall"])
def test_same_losses_and_replay_agrees(ctx, parts, transport, tmp_path):
    graph = open_graph(ctx, parts)
    expected, plain_epochs, _ = train(graph, None)
    asked = sum(epoch.rows_without_cache for epoch in plain_epochs)
    for number, config in enumerate(CONFIGS):
        folder = tmp_path / str(number)
        losses, epochs, loader = train(graph, config, folder)
        assert losses == expected, config
        assert sum(epoch.rows_without_cache for epoch in epochs) == asked
        trace = read_trace(folder / f"trace-rank{ctx.rank:05d}.npz")
        capacity = trace.facts.settings["capacity"]
        assert capacity == loader.cache_setup.capacity
        assert (capacity > 0) == (ctx.num_ranks > 1 and config.scorer != "none")
        check_against_replay(trace, config, capacity)
        moved = trace.columns["moved_bytes"].sum()
        total = sum(epoch.volume_bytes for epoch in epochs)
        assert ctx.allreduce_sum(np.array([moved])) == [total]
        assert total == sum(epoch.volume_rows for epoch in epochs) * ROW_BYTES
        if capacity and config.scorer != "decay":
            assert sum(epoch.volume_rows - epoch.fill_rows for epoch in epochs) < asked
            assert 0 < epochs[-1].hit_rate <= 1


@pytest.mark.parametrize("transport", ["alltoall", "auto"])
@pytest.mark.parametrize("draw", ["shared", "dependent"])
def test_draws_by_key_are_the_same_with_every_cache(ctx, parts, transport, draw, tmp_path):
    """What runs ahead knows the minibatches of the draw, the trace says which it was."""
    graph = open_graph(ctx, parts)
    options = {"draw": draw, "draw_every": 6}
    expected, plain_epochs, _ = train(graph, None, **options)
    asked = sum(epoch.rows_without_cache for epoch in plain_epochs)
    assert expected != train(graph, None)[0]
    for number, config in enumerate(CONFIGS[::4]):
        folder = tmp_path / str(number)
        losses, epochs, _ = train(graph, config, folder, **options)
        assert losses == expected, config
        assert sum(epoch.rows_without_cache for epoch in epochs) == asked
        trace = read_trace(folder / f"trace-rank{ctx.rank:05d}.npz")
        assert {name: trace.facts.settings[name] for name in options} == options
        check_against_replay(trace, config, trace.facts.settings["capacity"])


@pytest.mark.parametrize("transport", ["alltoall"])
def test_draws_by_key_move_fewer_rows(ctx, parts, transport):
    """Shared keys ask for fewer vertices; keys that last let the cache keep what it has."""
    graph = open_graph(ctx, parts)
    volumes = {}
    for draw in ("independent", "shared", "dependent"):
        loader = make_loader(graph, CacheConfig(cache_fraction=0.2), draw=draw, num_epochs=2)
        costs = [batch.cost.traffic for _ in range(2) for batch in loader]
        rows = [sum(cost.rows_asked for cost in costs), sum(cost.rows_fetched for cost in costs)]
        volumes[draw] = ctx.allreduce_sum(np.array(rows))
    if ctx.num_ranks == 1:
        assert all(rows.tolist() == [0, 0] for rows in volumes.values())
        return
    assert (volumes["shared"] < volumes["independent"]).all()
    assert volumes["dependent"][1] < 0.8 * volumes["shared"][1]


@pytest.mark.parametrize("transport", ["alltoall"])
def test_a_pass_may_begin_anywhere_with_draws_by_key(ctx, parts, transport):
    """Steps count on over epochs; each minibatch is a function of its own step alone."""
    graph = open_graph(ctx, parts)
    make = functools.partial(make_loader, graph, CacheConfig(), draw="dependent", draw_every=5)
    loader = make()
    whole = [[batch.n_id.tolist() for batch in loader] for _ in range(3)]
    assert whole[0] != whole[1]
    again = make()
    again.set_epoch(2, first_step=1)
    assert [batch.n_id.tolist() for batch in again] == whole[2][1:]


@pytest.mark.parametrize("transport", ["alltoall"])
def test_a_loader_has_the_cache_of_the_command_line(ctx, parts, transport):
    """As in the README: nothing about caches is said, and fewer rows move."""
    graph = open_graph(ctx, parts)
    assert TrainConfig(parts=graph.path).cache == DEFAULT_CACHE == CacheConfig()

    def num_fetched(**options):
        loader = DistNeighborLoader(graph, seeds="train", fanout=[3, 2], batch_size=16, **options)
        num_rows = 0
        for epoch in range(NUM_EPOCHS):
            loader.set_epoch(epoch)
            num_rows += sum(batch.cost.traffic.rows_fetched for batch in loader)
        assert not own_threads()
        return int(ctx.allreduce_sum(np.array([num_rows]))[0]), loader

    without, plain = num_fetched(cache=None)
    by_default, loader = num_fetched()
    assert plain.cache_setup is None and plain.options.prefetch_depth(ctx.num_ranks) == 0
    assert loader.config == CacheConfig() and loader.options.prefetch_depth(ctx.num_ranks) == (
        4 if ctx.num_ranks > 1 else 0
    )
    assert by_default == num_fetched(cache=CacheConfig())[0]
    if ctx.num_ranks > 1:
        assert by_default < 0.8 * without
    else:
        assert without == by_default == 0 == loader.cache_setup.capacity
    # Several loaders at once, one of them left midway and forgotten.
    others = [DistNeighborLoader(graph, split, fanout=[3, 2]) for split in ("train", "val")]
    passes = [iter(each) for each in (*others, loader)]
    for each in passes:
        next(each)
    del others, passes, each
    loader.close()
    assert not own_threads()


@pytest.mark.parametrize("transport", ["alltoall"])
def test_one_pass_of_evaluation_fills_no_cache(ctx, parts, transport, monkeypatch):
    graph = open_graph(ctx, parts)
    monkeypatch.setattr("gnnflow.loader.neighbor_loader.set_up_cache", None)
    model = GraphSAGE(7, 8, 2, NUM_CLASSES)
    assert evaluate(model, graph, ["val"])["val"] > 0
    assert not own_threads()


def check_against_replay(trace, config, capacity):
    """Hits, rows to fill and bytes, minibatch by minibatch."""
    columns = trace.columns
    if not capacity:
        assert not columns["num_hits"].any() and not columns["num_fill"].any()
        assert (columns["moved_bytes"] == np.diff(trace.offsets) * ROW_BYTES).all()
        return
    settings = ReplaySettings(
        scorer=config.scorer,
        capacity=capacity,
        fill=config.cache_fill,
        period=config.replace_every,
        lookahead=config.lookahead,
        alpha=config.alpha,
        seed=4,
    )
    replay = replay_trace(trace, settings)
    num_fill, moved = replay.rows_filled.copy(), replay.rows_fetched.copy()
    num_fill[0] += replay.rows_filled_at_start
    moved[0] += replay.rows_filled_at_start
    assert columns["num_hits"].tolist() == replay.rows_hit.tolist(), config
    assert columns["num_fill"].tolist() == num_fill.tolist(), config
    assert columns["moved_bytes"].tolist() == (moved * ROW_BYTES).tolist(), config


@pytest.mark.parametrize("transport", ["alltoall"])
def test_nothing_is_fetched_twice_for_a_minibatch(ctx, parts, transport):
    graph = open_graph(ctx, parts)
    for config in (CacheConfig(cache_fraction=0.1), CacheConfig(scorer="decay", period=1)):
        loader = make_loader(graph, config)
        rows = loader.cache_setup.rows
        ask = rows.ask

        def ask_and_look(requests, ask=ask):
            for request in requests:
                low, high = graph.book.range(ctx.rank)
                assert len(np.unique(request.fetch_ids)) == len(request.fetch_ids)
                assert not ((request.fetch_ids >= low) & (request.fetch_ids < high)).any()
            ask(requests)

        rows.ask = ask_and_look
        before = graph.store("x").counts().rows_remote
        fetched = sum(batch.cost.traffic.rows_fetched for batch in loader)
        loader.close()
        # What was fetched ahead for the next epoch was fetched, too.
        assert graph.store("x").counts().rows_remote - before >= fetched
        ctx.barrier()


@pytest.mark.parametrize("transport", ["alltoall"])
def test_memory_stays_within_budget_and_bounded_queues(ctx, parts, transport):
    graph = open_graph(ctx, parts)
    depth, every, window = 3, 2, 4
    config = CacheConfig(
        lookahead=window, cache_fraction=0.2, prefetch_depth=depth, exchange_every=every
    )
    loader = make_loader(graph, config)
    largest_rows = largest_subgraph = 0
    for _ in range(NUM_EPOCHS):
        for batch in loader:
            largest_rows = max(largest_rows, batch.x.numel() * 4)
            largest_subgraph = max(largest_subgraph, batch.cost.subgraph_bytes)
        time.sleep(0.05)  # the threads run ahead as far as they may
    maker = loader.maker
    capacity = loader.cache_setup.capacity
    # Per vertex met a state, its id, its place in the table and its probability.
    assert maker.cache_bytes <= capacity * (ROW_BYTES + 8) + graph.num_vertices * 100
    assert maker.cache_bytes >= capacity * ROW_BYTES
    # Sampled: the group in work, the queue, the window, and what is asked for and not handed over.
    under_way = depth + every - 1
    waiting = every + max(depth, every) + window + 1 + under_way + 1
    # Rows: those that arrive, in buffers of the next power of two; those gathered, of which one is
    # being made, two are in the user's hands and eight are kept to be used again.
    buffers = 2 * max(largest_rows, 4096) * every * (under_way + 1)
    gathered = (largest_rows + largest_rows // 8) * (under_way + 3 + 8)
    assert 0 < maker.queue_bytes <= waiting * largest_subgraph + buffers + gathered
    assert graph.partition_bytes >= graph.partition.arrays["x"].nbytes
    del batch, loader
    ctx.barrier()


@pytest.mark.parametrize("transport", ["alltoall"])
def test_leaving_early_leaves_nothing_behind(ctx, parts, transport):
    graph = open_graph(ctx, parts)
    expected = [list(make_loader(graph, None, num_epochs=1)) for _ in range(1)][0]
    for config in CONFIGS:
        loader = make_loader(graph, config)
        for number, batch in enumerate(loader):
            assert torch.equal(batch.x, expected[number].x)
            if number == 1:
                break
        assert not own_threads()
        if ctx.service is not None:
            assert all(call.done() for call in ctx.service._calls)
        # The cache goes on with what it has.
        loader.set_epoch(0)
        for batch, same in zip(loader, expected, strict=True):
            assert torch.equal(batch.x, same.x) and torch.equal(batch.n_id, same.n_id)
        # Threads that prepare the next epoch end with the loader.
        del batch
        depth = config.prefetch_depth
        runs_ahead = ctx.num_ranks > 1 if depth is None else depth > 0
        assert bool(own_threads()) == runs_ahead
        del loader
        assert not own_threads()
    ctx.barrier()


@pytest.mark.parametrize("transport", ["alltoall"])
def test_a_cache_goes_on_with_its_rows(ctx, parts, transport):
    """What a checkpoint holds of it is taken while minibatches are made ahead."""
    graph = open_graph(ctx, parts)
    for config in (CONFIGS[0], CONFIGS[4], CONFIGS[6], CONFIGS[9]):
        loader = make_loader(graph, config)
        next(iter(loader))
        state = CachedVertices(loader.cache_setup).state_dict()
        loader.close()
        later = make_loader(graph, dataclasses.replace(config, cache_fill="empty"))
        CachedVertices(later.cache_setup).load_state_dict(state)
        rows = later.cache_setup.rows
        assert np.array_equal(rows.cached_vertices(), state["vertices"])
        assert rows.rows_filled_at_start == len(state["vertices"])
        expected = make_loader(graph, None)
        for batch, same in zip(later, expected, strict=True):
            assert torch.equal(batch.x, same.x)
        later.close()
    CachedVertices(None).load_state_dict(state)
    assert not len(CachedVertices(None).state_dict()["vertices"])
    ctx.barrier()


def test_an_error_of_a_transform_surfaces(ctx, parts):
    graph = open_graph(ctx, parts)

    def refuse(batch):
        if batch.minibatch >= 2 * ctx.num_ranks:
            raise RuntimeError("not this one")
        return batch

    for config in CONFIGS[:3]:
        loader = make_loader(graph, config, transform=refuse)
        seen = []
        with pytest.raises(RuntimeError, match="not this one"):
            for batch in loader:
                seen.append(batch.minibatch)
        assert len(seen) == 2 and not own_threads()
        loader.set_epoch(0)
        assert next(iter(loader)).minibatch == seen[0]
        assert not own_threads()
    ctx.barrier()


def test_the_user_may_keep_batches(ctx, parts):
    """Memory of rows is used again only once nobody can see it any more."""
    graph = open_graph(ctx, parts)
    loader = make_loader(graph, CacheConfig(), num_epochs=1)
    kept = [batch.x[:1] for batch in loader]
    for _ in range(3):
        for batch in loader:
            batch.x.fill_(-1.0)
    loader.set_epoch(0)
    assert all(torch.equal(row, batch.x[:1]) for row, batch in zip(kept, loader, strict=True))


def test_passes_go_on_or_start_anew(ctx, parts):
    graph = open_graph(ctx, parts)
    loader = make_loader(graph, CacheConfig())
    plain = make_loader(graph, None)
    for epoch, first_step in ((0, 0), (1, 0), (1, 2), (0, 0), (1, 1), (2, 0), (5, 0)):
        loader.set_epoch(epoch, first_step=first_step)
        plain.set_epoch(epoch, first_step=first_step)
        for batch, same in zip(loader, plain, strict=True):
            assert torch.equal(batch.x, same.x)
            assert ctx.loss_weight == batch.loss_weight
    older = iter(loader)
    next(older)
    newer = iter(loader)
    next(newer)
    with pytest.raises(GnnflowError, match="use one loader for each"):
        next(older)
    next(newer)
    newer.close()
    assert not own_threads()
    ctx.barrier()


@pytest.mark.parametrize("transport", ["shared"])
def test_rows_on_this_machine_are_not_cached(ctx, parts, transport):
    graph = open_graph(ctx, parts)
    for scorer in ("lookahead", "decay"):
        loader = make_loader(graph, CacheConfig(scorer=scorer, cache_bytes=1 << 20))
        assert loader.cache_setup.capacity == 0 and loader.cache_setup.rows.cache is None
        assert len(loader.cache_setup.halo.vertices) == 0
        assert all(batch.cost.traffic.rows_fetched == 0 for batch in loader)
        loader.close()
