from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from small_graphs import power_law, tiny

from gnnflow.cache.halo_cache import HaloCache
from gnnflow.cache.scorers import make_scorer
from gnnflow.comm import Context
from gnnflow.config import CacheConfig
from gnnflow.errors import ConfigError, DataError
from gnnflow.graph import DistGraph
from gnnflow.loader import DistNeighborLoader, as_tensor
from gnnflow.partition.stored_rows import StoredRows

pytestmark = pytest.mark.mpi(1, 2, 4)
transports = pytest.mark.parametrize("transport", ["shared", "alltoall", "rma"])
messages = pytest.mark.parametrize("transport", ["alltoall", "rma"])
Parts = Callable[..., Path]


@transports
@pytest.mark.parametrize("method", ["metis", "random"])
def test_fetched_rows_are_the_rows_of_the_input(
    ctx: Context, parts: Parts, num_ranks: int, transport: str, method: str
) -> None:
    raw = power_law()
    graph = DistGraph.open(parts(raw, num_ranks, method=method), ctx)
    everybody = np.arange(graph.num_vertices)
    original_ids = graph.to_original(everybody)
    np.testing.assert_array_equal(np.sort(original_ids), everybody)
    shuffled = np.random.default_rng(ctx.rank).permutation(everybody)
    twice = np.concatenate([shuffled[:50], shuffled[:50]])
    for name in graph.array_names:
        expected = raw.arrays[name].rows(original_ids)
        store = graph.store(name)
        assert store.dtype == expected.dtype and store.row_shape == expected.shape[1:]
        for ids in (everybody, shuffled, twice, everybody[:0]):
            rows = store.fetch(ids)
            assert rows.dtype == expected.dtype
            np.testing.assert_array_equal(rows, expected[ids])
    with pytest.raises(DataError, match="no array 'z'; it has: cube"):
        graph.store("z")
    ctx.barrier()


@transports
def test_every_row_is_counted_once(
    ctx: Context, parts: Parts, num_ranks: int, transport: str
) -> None:
    graph = DistGraph.open(parts(power_law(), num_ranks), ctx)
    store = graph.store("x")
    store.fetch(np.arange(graph.num_vertices))
    counts = store.counts()
    assert counts.rows == graph.num_vertices
    assert counts.rows_inner == graph.partition.num_vertices
    others = graph.num_vertices - graph.partition.num_vertices
    by_message = transport != "shared"
    assert counts.rows_remote == (others if by_message else 0)
    assert counts.rows_shared == (0 if by_message else others)
    assert counts.bytes_remote == counts.rows_remote * 7 * 4
    if transport == "rma":  # without asking, where MPI maps the windows of others
        assert 0 <= counts.requests <= num_ranks - 1
    else:
        assert counts.requests == (num_ranks - 1 if by_message else 0)
    assert counts.fetches == 1


@messages
def test_fetches_overlap_and_fill_the_array_given(
    ctx: Context, parts: Parts, num_ranks: int, transport: str
) -> None:
    graph = DistGraph.open(parts(power_law(), num_ranks), ctx)
    rng = np.random.default_rng(ctx.rank)
    store = graph.store("wide")
    expected = store.fetch(np.arange(graph.num_vertices))
    wanted = [rng.permutation(graph.num_vertices)[: 100 * number] for number in range(5)]
    outputs = [np.empty((len(ids), 600), dtype=np.int16) for ids in wanted]
    under_way = [store.fetch_async(ids, out) for ids, out in zip(wanted, outputs, strict=True)]
    for ids, out, fetch in reversed(list(zip(wanted, outputs, under_way, strict=True))):
        assert fetch.result() is out and fetch.done()
        assert fetch.result() is out
        np.testing.assert_array_equal(out, expected[ids])


@messages
def test_rows_of_one_owner_arrive_in_place(
    ctx: Context, parts: Parts, num_ranks: int, transport: str
) -> None:
    graph = DistGraph.open(parts(power_law(), num_ranks), ctx)
    low, high = graph.book.range((ctx.rank + 1) % num_ranks)
    ids = np.arange(low, high)[::-1]
    store = graph.store("wide")
    np.testing.assert_array_equal(
        store.fetch(ids), power_law().arrays["wide"].rows(graph.to_original(ids))
    )


@transports
def test_only_one_rank_asks(ctx: Context, parts: Parts, num_ranks: int, transport: str) -> None:
    graph = DistGraph.open(parts(power_law(), num_ranks), ctx)
    if ctx.rank == num_ranks - 1:
        ids = np.arange(graph.num_vertices)
        for _ in range(5):
            graph.store("y").fetch(ids)


@transports
def test_few_vertices(ctx: Context, parts: Parts, num_ranks: int, transport: str) -> None:
    raw = tiny()
    graph = DistGraph.open(parts(raw, num_ranks, method="random"), ctx)
    ids = np.arange(5)
    np.testing.assert_array_equal(
        graph.store("x").fetch(ids), raw.arrays["x"].rows(graph.to_original(ids))
    )


@transports
def test_bad_arguments(ctx: Context, parts: Parts, num_ranks: int, transport: str) -> None:
    graph = DistGraph.open(parts(power_law(), num_ranks), ctx)
    store = graph.store("x")
    for wrong in (-1, graph.num_vertices):
        with pytest.raises(ValueError, match=rf"in \[0, 600\), got {wrong}"):
            store.fetch(np.array([3, wrong]))
    ids = np.arange(3)
    for shape, dtype in (((2, 7), np.float32), ((3, 7), np.float64), ((3, 8), np.float32)):
        with pytest.raises(ValueError, match="out must be a contiguous float32 array"):
            store.fetch(ids, np.empty(shape, dtype=dtype))
    with pytest.raises(ValueError, match="out must be"):
        store.fetch(ids, np.empty((3, 14), dtype=np.float32)[:, ::2])


@transports
@pytest.mark.parametrize("scorer", ["lru", "decay"])
def test_a_cache_beside_the_store(
    ctx: Context, parts: Parts, num_ranks: int, transport: str, scorer: str
) -> None:
    graph = DistGraph.open(parts(power_law(), num_ranks, method="random"), ctx)
    store = graph.store("x")
    expected = store.fetch(np.arange(graph.num_vertices))
    before = store.counts()
    cache = HaloCache(60, make_scorer(scorer), row_shape=store.row_shape, dtype=store.dtype)
    rng = np.random.default_rng(ctx.rank)
    num_asked = 0
    for _ in range(8):
        ids = rng.permutation(graph.num_vertices)[:200]
        plan = store.plan(ids)
        step = cache.plan(ids[plan.remote_positions])
        fetch = store.fetch_async(step.fetch_ids)
        found = step.slots >= 0
        in_cache, missed = plan.remote_positions[found], plan.remote_positions[~found]
        plan.take_from(store.num_sources, in_cache, step.slots[found])
        plan.take_from(store.num_sources + 1, missed, np.arange(step.rows_missed))
        fetched = fetch.result()
        rows = store.gather(plan, [cache.rows_for(step), fetched])
        cache.commit(step, fetched)
        np.testing.assert_array_equal(rows, expected[ids])
        num_asked += len(step.fetch_ids)
    assert store.counts().rows_remote - before.rows_remote == num_asked
    assert num_asked == cache.counts.rows_fetched
    if transport != "shared" and num_ranks > 1:
        assert cache.counts.rows_hit > 0


@messages
@pytest.mark.parametrize("wire_dtype", ["bfloat16", "int8"])
def test_rows_travel_with_fewer_bits(
    ctx: Context, parts: Parts, num_ranks: int, transport: str, wire_dtype: str
) -> None:
    raw = power_law()
    graph = DistGraph.open(parts(raw, num_ranks), ctx, wire_dtype=wire_dtype)
    ids = np.random.default_rng(ctx.rank).permutation(graph.num_vertices)
    own = graph.book.owner(ids) == ctx.rank
    for name in graph.array_names:
        store = graph.store(name)
        expected = raw.arrays[name].rows(graph.to_original(ids))
        rows = store.fetch(ids)
        assert rows.dtype == expected.dtype
        np.testing.assert_array_equal(rows[own], expected[own])
        if name != "x":
            np.testing.assert_array_equal(rows, expected)
            continue
        largest = np.abs(expected).max(axis=1, keepdims=True)
        limit = np.abs(expected) / 256 if wire_dtype == "bfloat16" else largest / 253
        assert (np.abs(rows - expected) <= limit).all()
        row_bytes = 2 * 7 if wire_dtype == "bfloat16" else 4 + 7
        assert store.counts().bytes_remote == np.count_nonzero(~own) * row_bytes
        owners = ids[~own][np.argsort(graph.book.owner(ids[~own]), kind="stable")]
        in_order = store.fetch(owners)
        np.testing.assert_array_equal(in_order, store.fetch(owners[::-1])[::-1])


@transports
@pytest.mark.parametrize("feature_dtype", ["float16", "bfloat16", "int8"])
def test_rows_move_as_they_are_stored(
    ctx: Context, parts: Parts, num_ranks: int, transport: str, feature_dtype: str
) -> None:
    raw = power_law()
    folder = parts(raw, num_ranks, method="random", feature_dtype=feature_dtype)
    graph = DistGraph.open(folder, ctx, wire_dtype="int8")  # which is for rows of float32
    assert graph.num_features == 7
    stored = StoredRows(raw.arrays["x"], feature_dtype)
    ids = np.random.default_rng(ctx.rank).permutation(graph.num_vertices)
    expected = stored.rows(graph.to_original(ids))
    np.testing.assert_array_equal(graph.store("x").fetch(ids), expected)
    assert graph.store("x").wire_row_bytes == expected[0].nbytes
    as_floats = as_tensor(expected, stored.type_name).float()
    position = np.argsort(ids)
    for cache in (None, CacheConfig(cache_fraction=0.3)):
        loader = DistNeighborLoader(graph, seeds="train", fanout=[4, 4], batch_size=40, cache=cache)
        for batch in loader:
            x = batch.x.float()
            assert torch.equal(x, as_floats[position[batch.n_id.numpy()]])


@transports
def test_rows_computed_at_run_time(
    ctx: Context, parts: Parts, num_ranks: int, transport: str
) -> None:
    graph = DistGraph.open(parts(power_law(), num_ranks), ctx)
    ids = np.random.default_rng(ctx.rank).permutation(graph.num_vertices)
    low, high = graph.book.range(ctx.rank)
    for factor in (2.0, 3.0):  # the same name twice
        local = np.arange(low, high, dtype=np.float64)[:, None] * [factor, 1.0]
        store = graph.serve("hidden", local)
        assert graph.store("hidden") is store
        np.testing.assert_array_equal(store.fetch(ids), ids[:, None] * [factor, 1.0])
        graph.unserve("hidden")
    with pytest.raises(DataError, match="no array 'hidden'"):
        graph.store("hidden")
    with pytest.raises(DataError, match="'hidden' is not served"):
        graph.unserve("hidden")


def test_rows_that_cannot_be_served(ctx: Context, parts: Parts, num_ranks: int) -> None:
    graph = DistGraph.open(parts(power_law(), num_ranks), ctx)
    right = np.zeros((graph.partition.num_vertices, 2), dtype=np.float32)
    with pytest.raises(DataError, match="'x' is an array of the graph already"):
        graph.serve("x", right)
    last = ctx.rank == num_ranks - 1
    with pytest.raises(DataError, match=f"rank {num_ranks - 1}: 'hidden' must be contiguous"):
        graph.serve("hidden", right[1:] if last else right)
    if num_ranks > 1:
        with pytest.raises(DataError, match="differs between ranks"):
            graph.serve("hidden", right.astype(np.float64) if last else right)


@transports
def test_facts(ctx: Context, parts: Parts, num_ranks: int, transport: str) -> None:
    raw = power_law()
    graph = DistGraph.open(parts(raw, num_ranks), ctx, verify=True)
    assert (graph.num_parts, graph.part_id) == (num_ranks, ctx.rank)
    assert (graph.num_vertices, graph.num_edges) == (raw.num_vertices, raw.num_edges)
    assert (graph.num_classes, graph.num_features) == (5, 7)
    assert set(graph.array_names) == set(raw.arrays)
    for name, original_ids in raw.splits.items():
        gathered = np.concatenate(ctx.allgather_array(graph.splits[name]))
        assert graph.num_seeds(name)[ctx.rank] == len(graph.splits[name])
        np.testing.assert_array_equal(np.sort(graph.to_original(gathered)), original_ids)
    ids = np.arange(graph.num_vertices)
    degrees = np.bincount(raw.edges[1], minlength=graph.num_vertices)
    np.testing.assert_array_equal(
        graph.store("in_degree").fetch(ids), degrees[graph.to_original(ids)]
    )


def test_several_graphs_at_once(ctx: Context, parts: Parts, num_ranks: int) -> None:
    graphs = [
        DistGraph.open(parts(raw, num_ranks, method="random"), ctx) for raw in (power_law(), tiny())
    ]
    for graph, raw in zip(graphs, (power_law(), tiny()), strict=True):
        ids = np.arange(graph.num_vertices)
        np.testing.assert_array_equal(
            graph.store("y").fetch(ids), raw.arrays["y"].rows(graph.to_original(ids))
        )


def test_ranks_must_be_parts(ctx: Context, parts: Parts, num_ranks: int) -> None:
    with pytest.raises(
        ConfigError, match=f"has 3 parts but the job has {num_ranks} ranks; start 3"
    ):
        DistGraph.open(parts(power_law(), 3), ctx)
    ctx.barrier()
