"""From the options to a cache that stands ready: budget, probabilities, common rows, fill."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gnnflow.array_types import Ids
from gnnflow.cache.fill import cache_capacity, fill_candidates
from gnnflow.cache.halo_cache import HaloCache
from gnnflow.cache.scorers import ScorerOptions, make_scorer
from gnnflow.cache.transfer import LookaheadWindow, Transfer, every
from gnnflow.cache.vertex_values import VertexValues
from gnnflow.cache.vip import inclusion_probabilities
from gnnflow.comm import Context
from gnnflow.config import CacheConfig
from gnnflow.features import DistFeatureStore
from gnnflow.graph import DistGraph
from gnnflow.prefetch.cached_rows import CachedRows
from gnnflow.prefetch.host_rows import HostRows
from gnnflow.terminal import SlowWork

NO_CACHE = "none"
"""The scorer that stands for no cache at all."""
_SCORERS_WITH_VIP = ("vip", "lookahead", "frequency")
# The walk's draws are others than those of the minibatches.
_WALK_SEED = 0x5EED0FA11A3E


@dataclass(frozen=True, kw_only=True, slots=True)
class Halo:
    """Halo vertices whose rows this rank cannot read directly: budgets are shares of them."""

    vertices: Ids
    """int64 `[num_halo]`, ascending."""
    degrees: Ids
    """int64 `[num_halo]`: their in-degrees in the whole graph."""
    vip: VertexValues | None = None
    """Vertex inclusion probabilities of remote vertices, if something asked for them."""


_NO_HALO = Halo(vertices=np.empty(0, np.int64), degrees=np.empty(0, np.int64))


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheSetup:
    """A rank's cache and what it was made from."""

    rows: CachedRows
    """The rows of the features, through the cache."""
    halo: Halo
    """What the cache may hold."""
    capacity: int
    """Rows that it can hold besides the common ones of its machine, 0 without a cache."""


def set_up_cache(
    graph: DistGraph,
    config: CacheConfig,
    *,
    array: str,
    budget_row_bytes: int | None = None,
    seeds: Ids,
    num_steps: int,
    fanout: Sequence[int],
    seed: int = 0,
    weight_attr: str | None = None,
) -> CacheSetup:
    """Makes the halo cache of a rank and fills it; all ranks call this.

    Args:
        graph: The graph.
        config: The options.
        array: Name of the array whose rows are cached.
        budget_row_bytes: Bytes of a row of which `cache_fraction` is a share for every halo vertex,
            those of a row of the array by default.
        seeds: int64 `[num_seeds]`: seeds of this rank, global ids.
        num_steps: Minibatches of an epoch.
        fanout: Neighbours kept per hop, seeds first.
        seed: Seed of the fill `random`, and of what is drawn to learn which rows are likely.
        weight_attr: Name of the edge weights by which neighbours are drawn.

    Raises:
        ConfigError: If scorer or fill are not known.
    """
    store = graph.store(array)
    halo = _halo_elsewhere(graph, store)
    budget = _budget(graph, config, store, len(halo.vertices), budget_row_bytes or store.row_bytes)
    if _needs_vip(graph.ctx, config, budget):
        vip = _vip_of(graph, seeds, num_steps, fanout, seed, weight_attr)
        halo = dataclasses.replace(halo, vip=_elsewhere(store, vip))
    host_rows = _host_rows(graph, config, store, halo, budget)
    num_shared = 0 if host_rows is None else len(host_rows.own_share)
    cache = _own_cache(graph, config, store, halo, budget - num_shared)
    num_filled = 0
    if cache is not None:
        candidates = fill_candidates(
            config.cache_fill, halo.vertices, halo.degrees, vip=halo.vip, seed=seed
        )
        num_filled = cache.fill(_not_shared(candidates, host_rows), store.fetch)
    rows = CachedRows(
        store,
        cache=cache,
        transfer=Transfer(
            window=LookaheadWindow(lookahead=config.lookahead),
            exchange_every=config.exchange_every,
            wire_dtype=store.wire_dtype,
            stored_row_bytes=store.row_bytes,
        ),
        decide=every(config.replace_every),
        rows_filled_at_start=num_filled + num_shared,
        host_rows=host_rows,
        early_bytes=config.fetch_early_bytes,
    )
    return CacheSetup(rows=rows, halo=halo, capacity=budget - num_shared)


def _budget(
    graph: DistGraph,
    config: CacheConfig,
    store: DistFeatureStore,
    num_halo: int,
    budget_row_bytes: int,
) -> int:
    """Rows that this rank may hold of other ranks, common ones of its machine included."""
    if config.scorer == NO_CACHE:
        return 0
    capacity = cache_capacity(
        fraction=None if config.cache_bytes is not None else config.cache_fraction,
        max_bytes=config.cache_bytes,
        num_halo=num_halo * budget_row_bytes // max(store.row_bytes, 1),
        row_bytes=store.row_bytes,
    )
    # A row beyond every remote vertex would never be used.
    num_elsewhere = graph.num_vertices - sum(_range_size(graph, p) for p in _at_hand(graph))
    return min(capacity, num_elsewhere)


def _needs_vip(ctx: Context, config: CacheConfig, budget: int) -> bool:
    """Whether the ranks have to compute inclusion probabilities, which they do together."""
    # A trace carries the probabilities, so that any scorer can be replayed over it.
    is_traced = config.trace is not None
    is_used = config.scorer in _SCORERS_WITH_VIP or config.cache_fill == "vip"
    return (is_traced or is_used) and _anywhere(ctx, budget > 0 or is_traced)


def _host_rows(
    graph: DistGraph, config: CacheConfig, store: DistFeatureStore, halo: Halo, budget: int
) -> HostRows | None:
    """Common rows of this machine, where its ranks are to hold some."""
    if config.cache_scope != "host" or halo.vip is None or config.scorer not in _SCORERS_WITH_VIP:
        return None
    return HostRows.choose_and_fetch(
        graph.ctx, _at_hand(graph), store, budget, halo.vip, graph.num_vertices
    )


def _own_cache(
    graph: DistGraph, config: CacheConfig, store: DistFeatureStore, halo: Halo, capacity: int
) -> HaloCache | None:
    """An empty cache of this rank alone; None without room for a row."""
    if capacity == 0:
        return None
    options = ScorerOptions(alpha=config.alpha, period=max(config.replace_every, 1), vip=halo.vip)
    return HaloCache(
        capacity,
        make_scorer(config.scorer, options),
        row_shape=store.row_shape,
        dtype=store.dtype,
        num_vertices=graph.num_vertices,
    )


def _not_shared(candidates: VertexValues, host_rows: HostRows | None) -> VertexValues:
    """Those that are none of the common rows."""
    if host_rows is None:
        return candidates
    is_rest = host_rows.find(candidates.ids) < 0
    return VertexValues(candidates.ids[is_rest], candidates.values[is_rest])


def _halo_elsewhere(graph: DistGraph, store: DistFeatureStore) -> Halo:
    """The halo vertices that this rank cannot read; costs nothing where all parts are at hand."""
    if len(_at_hand(graph)) == graph.num_parts:
        return _NO_HALO
    partition = graph.partition
    vertices = np.asarray(partition.halo, dtype=np.int64)
    # In ascending order, as the halo: positions come by owner, and owners have ascending ranges.
    chosen = store.plan(vertices).remote_positions
    degrees = np.asarray(partition.halo_degree, dtype=np.int64)
    return Halo(vertices=vertices[chosen], degrees=degrees[chosen])


def _elsewhere(store: DistFeatureStore, values: VertexValues) -> VertexValues:
    chosen = store.plan(values.ids).remote_positions
    return VertexValues(values.ids[chosen], values.values[chosen])


def _at_hand(graph: DistGraph) -> list[int]:
    ranks = range(graph.num_parts)
    return [rank for rank in ranks if graph.ctx.transport_to(rank) in ("local", "shared")]


def _range_size(graph: DistGraph, part: int) -> int:
    low, high = graph.book.range(part)
    return high - low


def _anywhere(ctx: Context, condition: bool) -> bool:
    return bool(ctx.allreduce_sum(np.array([condition], dtype=np.int64))[0])


def _vip_of(
    graph: DistGraph,
    seeds: Ids,
    num_steps: int,
    fanout: Sequence[int],
    seed: int,
    weight_attr: str | None,
) -> VertexValues:
    """Estimates the probabilities of this rank's minibatches; other ranks answer meanwhile."""
    sampler = graph.sampler(seed=seed ^ _WALK_SEED, weight_attr=weight_attr)
    show = graph.ctx.rank == 0
    with SlowWork("estimating which remote rows minibatches need", show=show) as work:
        return inclusion_probabilities(
            graph.partition,
            sampler,
            seeds,
            num_steps=num_steps,
            fanout=fanout,
            weighted=weight_attr is not None,
            progress=lambda hop, done: work.tell((hop + done) / len(fanout)),
        )
