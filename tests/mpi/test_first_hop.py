"""A stored first hop is the first layer over all neighbours, whatever it is made with."""

import json

import numpy as np
import pytest
import torch
from small_graphs import NUM_CLASSES, make_graph, power_law, tiny
from torch.nn import functional
from torch_geometric.nn import SAGEConv

import gnnflow
from gnnflow.config import CacheConfig
from gnnflow.errors import ConfigError, DataError, ResourceError
from gnnflow.first_hop import FIRST_HOPS, _FirstHopSums, joint_name, open_first_hop, split_rows
from gnnflow.in_degrees import IN_DEGREE, ensure_in_degree
from gnnflow.loader import DistLinkNeighborLoader, DistNeighborLoader, SeedSchedule
from gnnflow.models import make_model
from gnnflow.partition.stored_rows import from_stored
from gnnflow.replay import ReplaySettings, read_trace, replay_trace
from gnnflow.training import wrap
from gnnflow.training.records.run_trace import RunTrace
from gnnflow.training.records.step_metrics import EpochRecorder
from gnnflow.training.tasks import task_of
from gnnflow.training.trainer import Trainer, attach_layers

pytestmark = pytest.mark.mpi(1, 2, 4)

KIND_OF = {"sage": "mean", "gin": "sum", "gcn": "gcn"}
TOLERANCE = {"stored": 1e-6, "float16": 2e-3, "bfloat16": 1e-2, "int8": 1e-2}


def all_in_one_vertex():
    """A hub that everything points to, twice, with two loops of its own; most have no source."""
    sources = np.concatenate([np.arange(300), np.arange(300), [7, 7]])
    return make_graph(300, np.stack([sources, np.full(len(sources), 7)]))


GRAPHS = {"power_law": power_law, "tiny": tiny, "hub": all_in_one_vertex}


def open_graph(ctx, parts, raw=None, **options):
    raw = power_law() if raw is None else raw
    options = {"method": "random"} | options
    return gnnflow.DistGraph.open(parts(raw, ctx.num_ranks, **options), ctx)


def rows_of(raw, name):
    return raw.arrays[name].rows(np.arange(raw.num_vertices))


def expected_rows(raw, kind, x=None):
    """The aggregates in plain NumPy, by original id, in double precision."""
    x = rows_of(raw, "x").astype(np.float64) if x is None else x.astype(np.float64)
    src, dst = np.asarray(raw.edges)
    sums = np.zeros_like(x)
    if kind == "gcn":
        real = src != dst
        degree = np.bincount(dst[real], minlength=len(x))
        weight = 1 / np.sqrt(degree + 1.0)
        np.add.at(sums, dst[real], x[src[real]] * weight[src[real], None])
        return sums * weight[:, None] + x * weight[:, None] ** 2
    np.add.at(sums, dst, x[src])
    degree = np.bincount(dst, minlength=len(x))
    return sums / np.maximum(degree, 1)[:, None] if kind == "mean" else sums


def everyone(graph):
    return np.arange(graph.num_vertices, dtype=np.int64)


@pytest.mark.parametrize("transport", ["alltoall", "auto"])
@pytest.mark.parametrize("kind", FIRST_HOPS)
@pytest.mark.parametrize("name", GRAPHS)
def test_rows_are_those_of_plain_numpy(ctx, parts, name, kind, transport):
    raw = GRAPHS[name]()
    for feature_dtype, tolerance in TOLERANCE.items():
        graph = open_graph(ctx, parts, raw, feature_dtype=feature_dtype)
        rows = open_first_hop(graph, kind).fetch(everyone(graph))
        original = graph.to_original(everyone(graph))
        x, first = split_rows(rows, kind)
        dtype = graph.manifest.arrays["x"].dtype
        stored = from_stored(graph.store("x").fetch(everyone(graph)), dtype)
        if x is not None:
            np.testing.assert_array_equal(from_stored(x, dtype), stored)
        # Features that were rounded are aggregated as they are.
        by_original = np.empty_like(stored)
        by_original[original] = stored
        expected = expected_rows(raw, kind, by_original)[original]
        scale = np.maximum(np.abs(expected).max(axis=1, keepdims=True), 1)
        assert np.abs(from_stored(first, dtype) - expected).max() <= tolerance * scale.max()
        assert (np.abs(from_stored(first, dtype) - expected) <= 2 * tolerance * scale).all()
        assert open_first_hop(graph, kind) is graph.store(joint_name(kind))


@pytest.mark.parametrize("kind", FIRST_HOPS)
@pytest.mark.parametrize("name", GRAPHS)
def test_any_memory_gives_the_same(ctx, parts, name, kind):
    """Lists are cut between and within vertices; a byte is one edge at a time."""
    graph = open_graph(ctx, parts, GRAPHS[name]())
    ensure_in_degree(graph)
    [own] = np.split(graph.store("original_id").fetch(own_ids(graph)), 1)
    expected = expected_rows(GRAPHS[name](), kind)[own]
    for memory_bytes in (1, 2000, 50_000, 1 << 30):
        pieces = list(_FirstHopSums(graph, kind, memory_bytes).rows())
        found = np.concatenate([np.zeros((0, 7), np.float32), *pieces])
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        if memory_bytes == 1 and graph.partition.num_vertices > 1:
            assert len(pieces) > 1
        ctx.barrier()


def own_ids(graph):
    low, high = graph.book.range(graph.part_id)
    return np.arange(low, high, dtype=np.int64)


def train(graph, name, fanout, loader_seeds="train", *, stored, on_kernels, dims=None, **options):
    """Losses of all steps of two epochs."""
    torch.manual_seed(0)
    model = make_model(name, dims or [7, 16, NUM_CLASSES])
    if model.uses_in_degree:
        ensure_in_degree(graph)
    wrapped = wrap(model, graph.ctx)
    loader = DistNeighborLoader(
        graph,
        loader_seeds,
        fanout,
        24,
        arrays=("x", IN_DEGREE) if model.uses_in_degree else ("x",),
        transform=attach_layers if on_kernels else None,
        first_hop=model.first_hop if stored else None,
        num_epochs=2,
        **options,
    )
    recorder = EpochRecorder(graph.ctx)
    optimizer = torch.optim.Adam(wrapped.parameters(), lr=0.01)
    trainer = Trainer(wrapped, loader, optimizer, task_of(graph.manifest), recorder)
    losses = []
    for epoch in range(2):
        trainer.train_epoch(epoch)
        losses += recorder.job_losses
    return losses


@pytest.mark.parametrize("on_kernels", [False, True])
@pytest.mark.parametrize("name", KIND_OF)
def test_losses_are_those_of_all_neighbours_at_the_last_hop(ctx, parts, name, on_kernels):
    """On one and on four ranks: a vertex that two hops reach has all its neighbours in both."""
    graph = open_graph(ctx, parts)
    fanout = [-1, -1, -1]
    dims = [7, 12, 12, NUM_CLASSES]
    options = {"on_kernels": on_kernels, "dims": dims}
    expected = train(graph, name, fanout, stored=False, **options)
    found = train(graph, name, fanout, stored=True, **options)
    assert len(found) == len(expected) > 5
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", KIND_OF)
def test_one_layer_needs_no_hop(ctx, parts, name):
    graph = open_graph(ctx, parts)
    options = {"on_kernels": True, "dims": [7, NUM_CLASSES]}
    expected = train(graph, name, [-1], stored=False, **options)
    np.testing.assert_allclose(
        train(graph, name, [3], stored=True, **options), expected, atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("draw", ["independent", "dependent"])
def test_sampled_hops_are_those_without_it(ctx, parts, draw):
    """The hops before the last are drawn as ever, and the first layer of each vertex is exact."""
    graph = open_graph(ctx, parts)
    first = expected_rows(power_law(), "mean")
    x = rows_of(power_law(), "x")
    options = {"batch_size": 16, "draw": draw, "draw_every": 4}
    stored = DistNeighborLoader(graph, "train", [3, 2], first_hop="mean", **options)
    sampled = DistNeighborLoader(graph, "train", [3, 2], **options)
    for ours, plain in zip(stored, sampled, strict=True):
        num_vertices = sum(plain.num_sampled_nodes[:2])
        assert ours.num_sampled_nodes == plain.num_sampled_nodes[:2]
        assert torch.equal(ours.n_id, plain.n_id[:num_vertices])
        assert torch.equal(ours.edge_index, plain.edge_index[:, : plain.num_sampled_edges[0]])
        assert torch.equal(ours.x, plain.x[:num_vertices])
        original = graph.to_original(ours.n_id.numpy())
        np.testing.assert_array_equal(ours.x, x[original])
        np.testing.assert_allclose(ours.x_first, first[original], rtol=1e-5, atol=1e-6)


def test_a_convolution_of_pyg_takes_it(ctx, parts):
    """As docs/first-hop.md says it for models of one's own."""
    graph = open_graph(ctx, parts)
    conv = SAGEConv(7, 5)
    torch.manual_seed(3)
    for parameter in conv.parameters():
        torch.nn.init.normal_(parameter)
    everything = DistNeighborLoader(graph, "train", [-1], 16, shuffle=False)
    stored = DistNeighborLoader(graph, "train", [-1], 16, shuffle=False, first_hop="mean")
    for plain, ours in zip(everything, stored, strict=True):
        expected = conv(plain.x, plain.edge_index)[: plain.batch_size]
        found = conv.lin_l(ours.x_first) + conv.lin_r(ours.x)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


CONFIGS = [
    CacheConfig(cache_fraction=0.5),
    CacheConfig(cache_fraction=0.3, exchange_every=2),
    CacheConfig(scorer="none", prefetch_depth=2),
    CacheConfig(scorer="decay", cache_fraction=0.5, period=3),
    CacheConfig(scorer="lru", cache_fill="degree"),
]


@pytest.mark.parametrize("transport", ["alltoall"])
def test_same_losses_with_every_cache_and_replay_agrees(ctx, parts, transport, tmp_path):
    graph = open_graph(ctx, parts)
    options = {"stored": True, "on_kernels": True, "seed": 4}
    expected = train(graph, "sage", [3, 2], cache=None, **options)
    for number, config in enumerate(CONFIGS):
        assert train(graph, "sage", [3, 2], cache=config, **options) == expected
        wrapped = wrap(make_model("sage", [7, 8, NUM_CLASSES]), ctx)
        loader = DistNeighborLoader(
            graph, "train", [3, 2], 24, first_hop="mean", cache=config, seed=4, num_epochs=1
        )
        folder = tmp_path / str(number)
        trace = RunTrace(folder, graph, loader, wrapped, fanout=(3, 2), batch_size=24)
        trainer = Trainer(
            wrapped,
            loader,
            torch.optim.SGD(wrapped.parameters()),
            task_of(graph.manifest),
            EpochRecorder(ctx),
            recorders=[trace],
        )
        epoch = trainer.train_epoch(0)
        trace.save()
        loader.finish()
        read = read_trace(folder / f"trace-rank{ctx.rank:05d}.npz")
        facts = read.facts
        assert (facts.first_hop, facts.vectors_a_row, facts.row_bytes) == ("mean", 2, 2 * 7 * 4)
        # As many bytes hold half as many rows.
        if config.scorer != "none":
            assert facts.settings["capacity"] == int(config.cache_fraction * read.num_budget_rows)
        assert read.num_budget_rows == read.num_halo // 2
        moved = ctx.allreduce_sum(np.array([read.columns["moved_bytes"].sum()]))[0]
        assert moved == epoch.volume_bytes == epoch.volume_rows * facts.row_bytes
        if config.scorer == "lookahead":
            settings = ReplaySettings(scorer="lookahead", capacity=facts.settings["capacity"])
            replayed = replay_trace(read, settings)
            assert replayed.rows_asked.tolist() == np.diff(read.offsets).tolist()


@pytest.mark.parametrize("transport", ["alltoall"])
def test_it_moves_fewer_bytes(ctx, parts, transport):
    graph = open_graph(ctx, parts)
    moved = {}
    for kind in (None, "mean", "gcn"):
        loader = DistNeighborLoader(graph, "train", [3, 3], 24, first_hop=kind, cache=None)
        costs = [batch.cost.traffic for batch in loader]
        moved[kind] = int(ctx.allreduce_sum(np.array([sum(c.bytes_fetched for c in costs)]))[0])
        asked = int(ctx.allreduce_sum(np.array([sum(c.rows_asked for c in costs)]))[0])
        row = {None: 28, "mean": 56, "gcn": 28}[kind]
        labels = 0  # of seeds, which their own rank has
        assert moved[kind] == asked * row + labels
    if ctx.num_ranks > 1:
        assert moved["gcn"] < moved["mean"] < moved[None]


@pytest.mark.parametrize("transport", ["alltoall", "rma"])
@pytest.mark.parametrize("wire_dtype", ["bfloat16", "int8"])
def test_short_rows_on_the_way_round_each_half_by_itself(ctx, parts, transport, wire_dtype):
    """Sums over a hub are far larger than features, whose scale they do not share."""
    raw = all_in_one_vertex()
    seed = 10 * len(wire_dtype) + len(transport)
    path = parts(raw, ctx.num_ranks, method="random", seed=seed)
    graph = gnnflow.DistGraph.open(path, ctx, wire_dtype=wire_dtype)
    # Computed from rows as they are, however they travel in training.
    store = open_first_hop(graph, "sum")
    found = store.fetch(everyone(graph))
    exact = gnnflow.DistGraph.open(path, ctx)
    expected = open_first_hop(exact, "sum").fetch(everyone(exact))
    sums = expected_rows(raw, "sum")[exact.to_original(everyone(exact))]
    np.testing.assert_allclose(split_rows(expected, "sum")[1], sums, rtol=1e-5, atol=1e-5)
    for exact_half, half in zip(split_rows(expected, "sum"), split_rows(found, "sum"), strict=True):
        largest = np.abs(exact_half).max(axis=1, keepdims=True)
        assert (np.abs(exact_half - half) <= largest / 120 + 1e-6).all()
    own = own_ids(graph)
    np.testing.assert_array_equal(store.fetch(own), expected[own])
    stored, short = 2 * 7 * 4, {"bfloat16": 28, "int8": 2 * (7 + 4)}[wire_dtype]
    assert store.wire_row_bytes == (stored if ctx.num_ranks == 1 else short)


@pytest.mark.parametrize("transport", ["alltoall"])
def test_it_is_computed_once_and_anew_where_it_does_not_fit(ctx, parts, transport):
    path = parts(power_law(), ctx.num_ranks, method="random", seed=71)
    part = path / f"part-{ctx.rank:05d}"
    rows, facts = part / "first_hop_mean.npy", part / "first_hop_mean.json"

    def opened():
        graph = gnnflow.DistGraph.open(path, ctx)
        found = open_first_hop(graph, "mean").fetch(everyone(graph))
        ctx.barrier()
        return found

    expected = opened()
    written = rows.stat().st_mtime_ns
    np.testing.assert_array_equal(opened(), expected)
    assert rows.stat().st_mtime_ns == written

    def torn():
        rows.write_bytes(rows.read_bytes()[:-8])

    def other():
        about = json.loads(facts.read_text())
        facts.write_text(json.dumps(about | {"made_from": "0" * 64}))

    def no_json():
        facts.write_text("{")

    def wrong_type():
        about = json.loads(facts.read_text())
        facts.write_text(json.dumps(about | {"size_bytes": "many"}))

    def linked():
        elsewhere = path / "elsewhere.npy"
        rows.replace(elsewhere)
        rows.symlink_to(elsewhere)

    for damage in (rows.unlink, facts.unlink, torn, other, no_json, wrong_type, linked):
        ctx.barrier()
        if ctx.rank == ctx.num_ranks - 1:
            damage()
        ctx.barrier()
        np.testing.assert_array_equal(opened(), expected)
        assert not list(part.glob("*.part")) and not rows.is_symlink()


def test_what_it_does_not_fit_is_one_line(ctx, parts):
    graph = open_graph(ctx, parts)
    with pytest.raises(ConfigError, match="first_hop must be None or one of mean, sum, gcn"):
        DistNeighborLoader(graph, "train", [2, 2], first_hop="max")
    with pytest.raises(ConfigError, match="leave out edge_attr or first_hop"):
        DistNeighborLoader(graph, "train", [2, 2], first_hop="mean", edge_attr=True)
    with pytest.raises(ConfigError, match="weight_attr='weight' draws them by weight"):
        DistNeighborLoader(graph, "train", [2, 2], first_hop="mean", weight_attr="weight")
    with pytest.raises(ConfigError, match="leaves out"):
        DistNeighborLoader(graph, "train", [2, 2], first_hop="mean", arrays=("half",))
    with pytest.raises(ConfigError, match="first_hop_bytes must be at least 1, got 0"):
        DistNeighborLoader(graph, "train", [2, 2], first_hop="mean", first_hop_bytes=0)
    with pytest.raises(ConfigError, match="leave out exclude_targets or first_hop"):
        DistLinkNeighborLoader(graph, fanout=[2, 2], first_hop="mean", exclude_targets=True)
    with pytest.raises(ConfigError, match="GAT needs the edges of its first hop"):
        make_model("gat", [7, 8, 3])(torch.zeros(1, 7), [], x_first=torch.zeros(1, 7))
    raw = make_graph(40, np.array([[0, 1], [1, 2]]))
    raw.arrays["x"] = raw.arrays["wide"]
    numbers = open_graph(ctx, parts, raw, seed=5)
    with pytest.raises(DataError, match=r"needs features that are rows of floats, got int16"):
        DistNeighborLoader(numbers, "train", [2, 2], first_hop="mean")


def test_sums_beyond_the_type_of_features_are_one_line(ctx, parts):
    raw = all_in_one_vertex()
    x = np.full((300, 7), 200, dtype=np.float32)
    raw = make_graph(300, np.asarray(raw.edges))
    raw.arrays["x"] = gnnflow.datasets.row_source.ArrayRows(x)
    graph = open_graph(ctx, parts, raw, feature_dtype="float16", seed=6)
    open_first_hop(graph, "mean")
    # Found by the rank that owns the hub, told by all.
    with pytest.raises(ResourceError, match=r"reach 120400, beyond float16; partition .*bfloat16"):
        open_first_hop(graph, "sum")
    graph = open_graph(ctx, parts, raw, feature_dtype="bfloat16", seed=6)
    open_first_hop(graph, "sum")


@pytest.mark.parametrize("transport", ["alltoall"])
def test_link_loaders_take_it(ctx, parts, transport):
    graph = open_graph(ctx, parts)
    options = {"fanout": [3, 2], "batch_size": 16, "neg_sampling": "binary"}
    stored = DistLinkNeighborLoader(graph, first_hop="mean", **options)
    sampled = DistLinkNeighborLoader(graph, **options)
    first = expected_rows(power_law(), "mean")
    for ours, plain in zip(stored, sampled, strict=True):
        assert torch.equal(ours.edge_label_index, plain.edge_label_index)
        assert torch.equal(ours.n_id, plain.n_id[: len(ours.n_id)])
        original = graph.to_original(ours.n_id.numpy())
        np.testing.assert_allclose(ours.x_first, first[original], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("transport", ["alltoall"])
def test_rows_on_a_device_are_the_same(ctx, parts, transport):
    for feature_dtype in ("stored", "int8", "bfloat16"):
        graph = open_graph(ctx, parts, feature_dtype=feature_dtype)
        options = {"fanout": [3, 2], "batch_size": 24, "first_hop": "mean"}
        here = DistNeighborLoader(graph, **options)
        there = DistNeighborLoader(graph, device="cpu", **options)
        for expected, found in zip(here, there, strict=True):
            assert torch.equal(expected.x, found.x)
            assert torch.equal(expected.x_first, found.x_first)


def test_batches_keep_what_they_hold(ctx, parts):
    """Memory of minibatches serves again, but not while somebody holds a part of one."""
    graph = open_graph(ctx, parts)
    loader = DistNeighborLoader(graph, "train", [3, 2], 8, first_hop="mean")
    held = [(batch.x_first, batch.x_first.clone()) for batch in loader]
    assert all(torch.equal(kept, then) for kept, then in held)
    held = [(batch.x, batch.x.clone()) for batch in loader]
    assert all(torch.equal(kept, then) for kept, then in held)


def test_schedule_of_ones_own(ctx, parts):
    graph = open_graph(ctx, parts)
    own = own_ids(graph)[:9]
    schedule = SeedSchedule.from_batches([own[:5], own[5:], own[:0]], ctx)
    for batch in DistNeighborLoader(graph, schedule, [2, 2], first_hop="sum"):
        model = make_model("gin", [7, 8, NUM_CLASSES])
        out = model(
            batch.x,
            batch.edge_index,
            batch.num_sampled_nodes,
            batch.num_sampled_edges,
            x_first=batch.x_first,
        )
        assert out.shape == (batch.batch_size, NUM_CLASSES)
        if batch.batch_size:
            functional.cross_entropy(out, batch.y).backward()
