from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_graphs import power_law, tiny, weighted_power_law

from gnnflow import _kernels
from gnnflow.comm import Context
from gnnflow.datasets.raw_graph import RawGraph
from gnnflow.errors import ConfigError, DataError
from gnnflow.graph import DistGraph
from gnnflow.sampling import MinibatchSeeds, SampledSubgraph
from gnnflow.sampling.draws import DrawName

pytestmark = pytest.mark.mpi(1, 2, 4)
transports = pytest.mark.parametrize("transport", ["shared", "alltoall"])
Parts = Callable[..., Path]


def sample_whole(
    raw: RawGraph, seeds: np.ndarray, fanouts: list[int], minibatch: int, **how: int
) -> SampledSubgraph:
    """Samples the graph that was never cut, in original ids, by weight if it has any."""
    order = np.argsort(raw.edges[1], kind="stable")
    degrees = np.bincount(raw.edges[1], minlength=raw.num_vertices)
    topology = _kernels.Topology(np.array([0, raw.num_vertices]))
    indptr = np.concatenate(([0], np.cumsum(degrees)))
    indices = np.ascontiguousarray(raw.edges[0][order])
    weights = None
    if raw.edge_weight is not None:
        weights = raw.edge_weight[order].astype(np.float32)
        how["weighted"] = True
    topology.set_part(0, indptr, indices, None, order, weight=weights)
    if how.get("every"):
        keys, none = np.empty(len(indices), dtype=np.uint32), np.zeros(0, dtype=np.int64)
        original = np.arange(raw.num_vertices)
        _kernels.source_keys(indptr, indices, 0, original, none, none, keys)
        topology.set_source_keys(0, keys)
    sampler = _kernels.NeighborSampler(topology)
    return SampledSubgraph.from_arrays(sampler.sample(seeds, fanouts, 7, 2, minibatch, **how))


def to_global(graph: DistGraph, original_ids: np.ndarray) -> np.ndarray:
    original_of = graph.to_original(np.arange(graph.num_vertices))
    return np.argsort(original_of)[original_ids]


def assert_same(graph: DistGraph, ours: SampledSubgraph, whole: SampledSubgraph) -> None:
    np.testing.assert_array_equal(graph.to_original(ours.vertices), whole.vertices)
    np.testing.assert_array_equal(ours.indptr, whole.indptr)
    np.testing.assert_array_equal(ours.src, whole.src)
    assert ours.num_sampled_vertices == whole.num_sampled_vertices
    assert ours.num_sampled_edges == whole.num_sampled_edges
    assert ours.num_seeds == whole.num_seeds
    if ours.edge_ids is not None:
        np.testing.assert_array_equal(ours.edge_ids, whole.edge_ids)


@transports
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("method", ["metis", "random"])
@pytest.mark.parametrize("halo_hops", [0, 1, 2])
def test_a_minibatch_does_not_depend_on_the_partitioning(
    ctx: Context,
    parts: Parts,
    num_ranks: int,
    transport: str,
    threads: int,
    method: str,
    halo_hops: int,
) -> None:
    raw = power_law()
    folder = parts(raw, num_ranks, method=method, halo_hops=halo_hops)
    # Neighbour lists once from mapped files, once from memory.
    topology_bytes = 0 if threads == 1 else None
    graph = DistGraph.open(folder, ctx, topology_bytes=topology_bytes)
    held = [graph.partition.indices, *(halo.indices for halo in graph.partition.halo_topology)]
    assert graph.topology_bytes == (0 if threads == 1 else 4 * sum(map(len, held)))
    original_seeds = np.random.default_rng(5).permutation(raw.num_vertices)[:40]
    seeds = to_global(graph, original_seeds)
    for replace in (False, True):
        sampler = graph.sampler(seed=7, replace=replace, with_edge_ids=True)
        for fanouts in ([3, 2], [5, 1, 4], [-1]):
            for minibatch in (0, 11):
                ours = sampler.sample(seeds, fanouts, epoch=2, minibatch=minibatch)
                how = {"replace": replace, "with_edge_ids": True}
                assert_same(
                    graph, ours, sample_whole(raw, original_seeds, fanouts, minibatch, **how)
                )
    asked = sampler.counts.vertices_asked
    assert (asked == 0) == (num_ranks == 1 or transport == "shared")


@transports
@pytest.mark.parametrize("draw", [("shared", 1), ("dependent", 5)])
@pytest.mark.parametrize("method", ["metis", "random"])
@pytest.mark.parametrize("halo_hops", [0, 1, 2])
def test_a_draw_by_key_does_not_depend_on_the_partitioning(
    ctx: Context,
    parts: Parts,
    num_ranks: int,
    transport: str,
    draw: tuple[DrawName, int],
    method: str,
    halo_hops: int,
) -> None:
    raw = power_law()
    graph = DistGraph.open(parts(raw, num_ranks, method=method, halo_hops=halo_hops), ctx)
    original_seeds = np.random.default_rng(5).permutation(raw.num_vertices)[:40]
    seeds = to_global(graph, original_seeds)
    name, every = draw
    sampler = graph.sampler(seed=7, with_edge_ids=True, draw=name, draw_every=every)
    # One of several loaders: what was made for the first serves the others.
    other = graph.sampler(seed=7, with_edge_ids=True, draw=name, draw_every=every, num_threads=2)
    for fanouts in ([3, 2], [5, 1, 4], [-1]):
        # Neither epoch nor minibatch count, which differ between ranks; the step does.
        batches = [MinibatchSeeds(seeds, 1, ctx.rank, step) for step in (0, 3, 11)]
        for batch, ours in zip(batches, sampler.sample_many(batches, fanouts), strict=True):
            how = {"with_edge_ids": True, "every": every}
            assert_same(graph, ours, sample_whole(raw, original_seeds, fanouts, batch.step, **how))
            again = other.sample(seeds, fanouts, epoch=0, minibatch=9, step=batch.step)
            np.testing.assert_array_equal(ours.edge_ids, again.edge_ids)


@transports
@pytest.mark.parametrize("draw", [("independent", 0), ("shared", 1), ("dependent", 5)])
@pytest.mark.parametrize("method", ["metis", "random"])
@pytest.mark.parametrize("halo_hops", [0, 1, 2])
def test_a_draw_by_weight_does_not_depend_on_the_partitioning(
    ctx: Context,
    parts: Parts,
    num_ranks: int,
    transport: str,
    draw: tuple[DrawName, int],
    method: str,
    halo_hops: int,
) -> None:
    raw = weighted_power_law()
    graph = DistGraph.open(parts(raw, num_ranks, method=method, halo_hops=halo_hops), ctx)
    original_seeds = np.random.default_rng(5).permutation(raw.num_vertices)[:40]
    seeds = to_global(graph, original_seeds)
    name, every = draw
    options = {"seed": 7, "draw": name, "draw_every": max(every, 1), "weight_attr": "weight"}
    sampler = graph.sampler(with_edge_ids=True, **options)
    # The topology with global edge ids has weights of its own, and threads change nothing.
    other = graph.sampler(global_edge_ids=True, num_threads=2, **options)
    for fanouts in ([3, 2], [5, 1, 4], [-1, 3]):
        # As the same minibatch on all ranks.
        batches = [MinibatchSeeds(seeds, 2, number, number) for number in (0, 3, 11)]
        for batch, ours in zip(batches, sampler.sample_many(batches, fanouts), strict=True):
            how = {"with_edge_ids": True, "every": every}
            whole = sample_whole(raw, original_seeds, fanouts, batch.step, **how)
            assert_same(graph, ours, whole)
            given = {"epoch": 2, "minibatch": batch.minibatch, "step": batch.step}
            again = other.sample(seeds, fanouts, **given)
            np.testing.assert_array_equal(ours.vertices, again.vertices)
            np.testing.assert_array_equal(ours.src, again.src)
            # Of weight 0 none is kept, but where all are.
            edge_ids = ours.edge_ids
            assert edge_ids is not None and raw.edge_weight is not None
            first = ours.num_sampled_edges[0] if fanouts[0] < 0 else 0
            assert (raw.edge_weight[edge_ids[first:]] > 0).all()
    assert (sampler.counts.vertices_asked == 0) == (num_ranks == 1 or transport == "shared")


@pytest.mark.parametrize("transport", ["alltoall"])
def test_with_replacement_by_weight(
    ctx: Context, parts: Parts, num_ranks: int, transport: str
) -> None:
    raw = weighted_power_law()
    graph = DistGraph.open(parts(raw, num_ranks, method="random", halo_hops=1), ctx)
    original_seeds = np.arange(0, raw.num_vertices, 9)
    sampler = graph.sampler(seed=7, replace=True, with_edge_ids=True, weight_attr="weight")
    ours = sampler.sample(to_global(graph, original_seeds), [4, 3], epoch=2, minibatch=5)
    how = {"replace": True, "with_edge_ids": True}
    assert_same(graph, ours, sample_whole(raw, original_seeds, [4, 3], 5, **how))


@pytest.mark.parametrize("transport", ["alltoall"])
def test_weights_that_there_are_not(
    ctx: Context, parts: Parts, num_ranks: int, transport: str
) -> None:
    graph = DistGraph.open(parts(weighted_power_law(), num_ranks), ctx)
    with pytest.raises(DataError, match="no edge weights 'w'; it has: weight$"):
        graph.sampler(weight_attr="w")
    graph = DistGraph.open(parts(power_law(), num_ranks), ctx)
    with pytest.raises(DataError, match="no edge weights 'weight'; it has: none.*--edge-weights"):
        graph.sampler(weight_attr="weight")


@pytest.mark.parametrize("transport", ["alltoall"])
def test_edges_are_numbered_with_draws_by_key_too(
    ctx: Context, parts: Parts, num_ranks: int, transport: str
) -> None:
    """The topology with global edge ids, whichever sampler was made first."""
    raw = power_law()
    for first in (True, False):
        graph = DistGraph.open(parts(raw, num_ranks, halo_hops=1), ctx)
        both = (first, not first)
        samplers = [graph.sampler(draw="shared", global_edge_ids=each) for each in both]
        numbered, plain = samplers if first else samplers[::-1]
        seeds = graph.splits["train"]
        with_ids = numbered.sample(seeds, [3, 2], epoch=0, minibatch=0, step=4)
        without = plain.sample(seeds, [3, 2], epoch=0, minibatch=0, step=4)
        np.testing.assert_array_equal(with_ids.vertices, without.vertices)
        np.testing.assert_array_equal(with_ids.src, without.src)
        ids = with_ids.edge_ids
        assert ids is not None and without.edge_ids is None
        owners = np.searchsorted(graph.edges.offsets, ids, side="right") - 1
        expanded = with_ids.vertices[: with_ids.num_expanded]
        destinations = np.repeat(expanded, np.diff(with_ids.indptr))
        np.testing.assert_array_equal(graph.book.owner(destinations), owners)


@pytest.mark.parametrize("transport", ["alltoall"])
def test_draws_that_there_are_not(
    ctx: Context, parts: Parts, num_ranks: int, transport: str
) -> None:
    graph = DistGraph.open(parts(tiny(), num_ranks), ctx)
    with pytest.raises(ConfigError, match="draw must be one of independent, shared, dep"):
        graph.sampler(draw="labor")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"draw_every must be in \[1, 2147483648\], got 0"):
        graph.sampler(draw="dependent", draw_every=0)
    with pytest.raises(ConfigError, match="draw shared keeps a neighbour once at most; leave out"):
        graph.sampler(draw="shared", replace=True)


@pytest.mark.parametrize("transport", ["alltoall"])
def test_stored_halo_saves_exchanges(
    ctx: Context, parts: Parts, num_ranks: int, transport: str
) -> None:
    raw = power_law()
    for halo_hops in (0, 1, 2):
        graph = DistGraph.open(parts(raw, num_ranks, halo_hops=halo_hops), ctx)
        sampler = graph.sampler()
        sampler.sample(graph.splits["train"], [4, 4, 4], epoch=0, minibatch=ctx.rank)
        expected = max(0, 2 - halo_hops) if num_ranks > 1 else 0
        assert sampler.counts.exchanges == expected


@transports
def test_many_at_once_is_the_same_as_one_by_one(
    ctx: Context, parts: Parts, num_ranks: int, transport: str
) -> None:
    graph = DistGraph.open(parts(power_law(), num_ranks), ctx)
    rng = np.random.default_rng(ctx.rank)
    sizes = [20, 0, 1, 33, 7]
    batches = [
        MinibatchSeeds(rng.permutation(graph.num_vertices)[:size], epoch, minibatch)
        for epoch, (minibatch, size) in enumerate(zip((4, 5, 9, 1, 4), sizes, strict=True))
    ]
    together = graph.sampler(seed=1, with_edge_ids=True)
    alone = graph.sampler(seed=1, with_edge_ids=True)
    many = together.sample_many(batches, [4, 3])
    for subgraph, batch in zip(many, batches, strict=True):
        one = alone.sample(batch.seeds, [4, 3], epoch=batch.epoch, minibatch=batch.minibatch)
        for field in ("vertices", "indptr", "src", "edge_ids"):
            np.testing.assert_array_equal(getattr(subgraph, field), getattr(one, field))
    assert together.counts.minibatches == len(batches)
    assert together.counts.exchanges <= 2
    assert together.sample_many([], [4, 3]) == []


@transports
def test_all_neighbours_are_the_neighbourhood(
    ctx: Context, parts: Parts, num_ranks: int, transport: str
) -> None:
    from scipy import sparse

    raw = power_law()
    graph = DistGraph.open(parts(raw, num_ranks, method="random"), ctx)
    shape = (raw.num_vertices, raw.num_vertices)
    ones = np.ones(raw.num_edges)
    into = sparse.csr_array((ones, (raw.edges[1], raw.edges[0])), shape=shape)
    seeds = graph.splits["val"][:5]
    subgraph = graph.sampler().sample(seeds, [-1, -1], epoch=0, minibatch=0)
    reached = np.zeros(raw.num_vertices)
    reached[graph.to_original(seeds)] = 1
    expanded = reached
    for _ in range(2):
        expanded, reached = reached, reached + (reached @ into)
    np.testing.assert_array_equal(
        np.sort(graph.to_original(subgraph.vertices)), np.flatnonzero(reached)
    )
    assert subgraph.num_edges == np.isin(raw.edges[1], np.flatnonzero(expanded)).sum()


@transports
def test_ranks_without_seeds(ctx: Context, parts: Parts, num_ranks: int, transport: str) -> None:
    graph = DistGraph.open(parts(tiny(), num_ranks, method="random"), ctx)
    sampler = graph.sampler()
    nothing = sampler.sample(np.empty(0, np.int64), [2, 2], epoch=0, minibatch=0)
    assert (nothing.num_vertices, nothing.num_edges, nothing.num_seeds) == (0, 0, 0)
    if ctx.rank == 0:
        everybody = sampler.sample(np.arange(5), [-1, -1], epoch=0, minibatch=1)
        assert (everybody.num_vertices, everybody.num_edges) == (5, 4)


@transports
def test_bad_seeds(ctx: Context, parts: Parts, num_ranks: int, transport: str) -> None:
    graph = DistGraph.open(parts(power_law(), num_ranks), ctx)
    sampler = graph.sampler()
    for wrong in ([3, 3], [600], [-1]):
        with pytest.raises(DataError, match=str(wrong[-1])):
            sampler.sample(np.array(wrong), [2, 2], epoch=0, minibatch=0)
        good = sampler.sample(np.array([3]), [2, 2], epoch=0, minibatch=0)
        assert good.num_seeds == 1
