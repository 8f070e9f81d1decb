"""Minibatches put together on a device are those put together without."""

import pytest
import torch
from small_graphs import power_law
from test_cached_training import own_threads

import gnnflow
from gnnflow.config import CacheConfig
from gnnflow.errors import ConfigError
from gnnflow.loader import DistNeighborLoader
from gnnflow.training.checkpoints.of_run import CachedVertices

pytestmark = pytest.mark.mpi(1, 2)

CPU = torch.device("cpu")
CONFIGS = [
    None,
    CacheConfig(scorer="none", prefetch_depth=2),
    CacheConfig(cache_fill="degree", cache_fraction=0.2, cache_scope="rank", prefetch_depth=0),
    CacheConfig(cache_fraction=0.2, prefetch_depth=2, exchange_every=2),
    CacheConfig(scorer="lru", cache_fraction=0.2, prefetch_depth=0),
    CacheConfig(scorer="lru", cache_fill="random", cache_fraction=0.2, prefetch_depth=2),
    CacheConfig(scorer="decay", cache_fill="degree", cache_fraction=0.3, period=2),
    CacheConfig(scorer="decay", cache_fraction=0.3, period=3, prefetch_depth=0),
]


def make_loader(graph, cache, **options):
    options = {"batch_size": 16, "num_epochs": 2, "seed": 4} | options
    return DistNeighborLoader(graph, "train", (3, 2), cache=cache, **options)


def same_bits(left, right):
    assert left.dtype == right.dtype and left.shape == right.shape
    return torch.equal(left.view(torch.uint8), right.view(torch.uint8))


@pytest.mark.parametrize("transport", ["alltoall"])
@pytest.mark.parametrize("feature_dtype", ["stored", "bfloat16", "int8"])
def test_batches_are_the_same(ctx, parts, transport, feature_dtype):
    folder = parts(power_law(), ctx.num_ranks, method="random", feature_dtype=feature_dtype)
    graph = gnnflow.DistGraph.open(folder, ctx)
    plain = make_loader(graph, None)
    expected = [batch for _ in range(2) for batch in plain]
    for config in CONFIGS:
        usual, loader = make_loader(graph, config), make_loader(graph, config, device=CPU)
        kept = []
        for _ in range(2):
            for batch, other in zip(loader, usual, strict=True):
                assert batch.cost.traffic.rows_hit == other.cost.traffic.rows_hit
                assert batch.cost.traffic.bytes_fetched == other.cost.traffic.bytes_fetched
                kept.append(batch)
        if ctx.num_ranks > 1 and config is not None and config.scorer != "none":
            assert sum(batch.cost.traffic.rows_hit for batch in kept) > 0
            assert loader.cache_setup.rows.cache.rows_bytes == 0
        # Kept until the end: nothing was overwritten in the user's hands.
        for batch, same in zip(kept, expected, strict=True):
            assert same_bits(batch.x, same.x), config
            assert torch.equal(batch.n_id, same.n_id) and torch.equal(batch.y, same.y)
        assert not own_threads()
    ctx.barrier()


@pytest.mark.parametrize("transport", ["alltoall"])
def test_leaving_early_and_going_on(ctx, parts, transport):
    graph = gnnflow.DistGraph.open(parts(power_law(), ctx.num_ranks, method="random"), ctx)
    expected = list(make_loader(graph, None, num_epochs=1))
    for config in CONFIGS[1:]:
        loader = make_loader(graph, config, device=CPU)
        for number, _ in enumerate(loader):
            if number == 1:
                break
        assert not own_threads()
        if ctx.service is not None:
            assert all(call.done() for call in ctx.service._calls)
        state = CachedVertices(loader.cache_setup).state_dict()
        warm = make_loader(graph, config, device=CPU)
        CachedVertices(warm.cache_setup).load_state_dict(state)
        loader.set_epoch(0)
        for batch, other, same in zip(loader, warm, expected, strict=True):
            assert same_bits(batch.x, same.x) and same_bits(other.x, same.x)
        loader.close()
        warm.close()
        assert not own_threads()
    ctx.barrier()


@pytest.mark.parametrize("transport", ["auto"])
def test_rows_of_other_memory_on_this_machine(ctx, parts, transport):
    """Mapped parts are gathered through the staging buffer."""
    graph = gnnflow.DistGraph.open(parts(power_law(), ctx.num_ranks, method="random"), ctx)
    plain = make_loader(graph, None, arrays=("x", "half"))
    loader = make_loader(graph, CacheConfig(), arrays=("x", "half"), device=CPU)
    for batch, same in zip(loader, plain, strict=True):
        assert same_bits(batch.x, same.x) and same_bits(batch.half, same.half)
    loader.close()
    ctx.barrier()


def test_devices_that_are_refused(ctx, parts):
    graph = gnnflow.DistGraph.open(parts(power_law(), ctx.num_ranks, method="random"), ctx)
    with pytest.raises(ConfigError, match="must be None, cpu or cuda, got meta"):
        make_loader(graph, None, device=torch.device("meta"))
    if torch.cuda.is_available():
        with pytest.raises(ConfigError, match="use one"):
            make_loader(graph, None, device=CPU, pin_memory=True)
    else:
        with pytest.raises(ConfigError, match="finds no GPU here"):
            make_loader(graph, None, device=torch.device("cuda"))
