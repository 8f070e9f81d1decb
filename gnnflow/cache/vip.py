"""Vertex inclusion probabilities: how likely a minibatch of this rank needs the row of a vertex.

Source: Kaler et al., "Communication-Efficient Graph Neural Networks with Probabilistic Neighborhood
Expansion Analysis and Caching", MLSys 2023 (SALIENT++). For the train seeds of one rank, each of
which is in one of its minibatches per epoch,

    p_0(v) = 1 / steps,
    p_h(u) = 1 - prod over edges u -> v of (1 - min(1, f_h / degree(v)) p_(h-1)(v)),
    vip(u) = 1 - prod over h of (1 - p_h(u)).

No rank holds the whole graph. The in-edges of `v` lie with the owner of `v`, so every rank walks
its own part for all ranks at once: it holds the probabilities of its inner vertices for the
minibatches of each rank (the *origin*), spreads them over its in-edges, and sends what falls on
halo vertices to their owners. One exchange per hop, and one at the end that brings the results
home. Where nothing arrives nothing is stored: memory follows the vertices that origins can reach.

The walk is a generator that yields what to send and is sent what arrives. `exchange_between` runs
the walks of all ranks in one process, `exchange_through` one walk with a function that moves
messages between ranks.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gnnflow.array_types import FloatArray, IntArray
from gnnflow.cache.vertex_values import VertexValues
from gnnflow.partition import GraphPartition

# Edges that are spread at once: bounds the memory of a step.
_MAX_EDGES = 1 << 22


@dataclass(frozen=True, slots=True)
class VipMessage:
    """What one rank tells another in one exchange."""

    origins: IntArray
    """int64 `[n]`, ascending: for whose minibatches each number is."""
    ids: IntArray
    """int64 `[n]`: global ids of vertices."""
    values: FloatArray
    """float64 `[n]`: logarithms of the probability that they are not needed."""


_AtVertices = dict[int, tuple[IntArray, FloatArray]]
"""By origin, local ids of inner vertices and a number of each."""
_Outbox = list[list[tuple[int, IntArray, FloatArray]]]
"""By rank that is sent to: origins, global ids and a number of each."""
Walk = Generator[list[VipMessage], list[VipMessage], VertexValues]
Exchange = Callable[[list[VipMessage]], list[VipMessage]]
"""Given a message to each rank, returns the one from each rank."""


def vip_walk(
    partition: GraphPartition,
    seeds: IntArray,
    *,
    num_steps: int,
    fanout: Sequence[int],
    min_probability: float = 1e-6,
) -> Walk:
    """Walks one part for all ranks.

    Args:
        partition: The part of this rank.
        seeds: int64 `[num_seeds]`, local ids of its train seeds.
        num_steps: Minibatches per epoch; each seed is in one of them.
        fanout: Neighbours kept per hop, seeds first; -1 keeps all.
        min_probability: What is less likely is taken for impossible.

    Returns:
        A generator for `exchange_between` or `exchange_through`. Its result are the probabilities
        of vertices of other parts for the minibatches of this rank.
    """
    first, end = partition.book.range(partition.part_id)
    reached: _AtVertices = {}
    if len(seeds):
        reached[partition.part_id] = (
            np.asarray(seeds, dtype=np.int64),
            np.full(len(seeds), 1 / num_steps),
        )
    never: dict[int, list[tuple[IntArray, FloatArray]]] = {}  # by hop, logarithms of 1 - p
    for width in fanout:
        inner, outbox = _hop(partition, reached, width)
        arrived = yield [_pack(items) for items in outbox]
        reached = {}
        for origin, sums in _by_origin(arrived, inner, first, end - first):
            local_ids = np.flatnonzero(sums < np.log1p(-min_probability))
            if len(local_ids):
                never.setdefault(origin, []).append((local_ids, sums[local_ids]))
                reached[origin] = (local_ids, -np.expm1(sums[local_ids]))
    arrived = yield [_pack(items) for items in _addressed_home(partition, never)]
    ids = np.concatenate([message.ids for message in arrived])
    values = -np.expm1(np.concatenate([message.values for message in arrived]))
    # Parts own ascending ranges, so messages in the order of the ranks are sorted.
    return VertexValues(ids, values.astype(np.float32))


def exchange_between(walks: Sequence[Walk]) -> list[VertexValues]:
    """Runs the walks of all ranks in one process, in rank order."""
    outgoing = [next(walk) for walk in walks]
    results: list[VertexValues] = []
    while not results:
        arrived = [list(messages) for messages in zip(*outgoing, strict=True)]
        outgoing = []
        for walk, messages in zip(walks, arrived, strict=True):
            try:
                outgoing.append(walk.send(messages))
            except StopIteration as stop:
                results.append(stop.value)
    return results


def exchange_through(walk: Walk, exchange: Exchange) -> VertexValues:
    """Runs the walk of one rank; `exchange` moves messages between the ranks."""
    outgoing = next(walk)
    while True:
        try:
            outgoing = walk.send(exchange(outgoing))
        except StopIteration as stop:
            result: VertexValues = stop.value
            return result


def _hop(
    partition: GraphPartition, reached: _AtVertices, width: int
) -> tuple[dict[int, FloatArray], _Outbox]:
    """Spreads what each origin has reached: sums of inner vertices by origin, the rest by owner."""
    inner: dict[int, FloatArray] = {}
    outbox: _Outbox = [[] for _ in range(partition.book.num_parts)]
    for origin in sorted(reached):
        vertices, probabilities = reached[origin]
        degrees = partition.indptr[vertices + 1] - partition.indptr[vertices]
        with np.errstate(divide="ignore"):
            share = width / np.maximum(degrees, 1) if width >= 0 else 1.0
            logarithms = np.log1p(-np.minimum(share, 1) * probabilities)
        inner[origin], halo = _spread(partition, vertices, logarithms)
        _address(partition, origin, halo, outbox)
    return inner, outbox


def _addressed_home(
    partition: GraphPartition, never: dict[int, list[tuple[IntArray, FloatArray]]]
) -> _Outbox:
    """Adds up the hops of every other origin, for the rank that it is."""
    first, end = partition.book.range(partition.part_id)
    home: _Outbox = [[] for _ in range(partition.book.num_parts)]
    for origin, hops in never.items():
        if origin != partition.part_id:
            sums = np.zeros(end - first)
            for local_ids, logarithms in hops:
                sums[local_ids] += logarithms
            local_ids = np.flatnonzero(sums)
            home[origin].append((origin, local_ids + first, sums[local_ids]))
    return home


def _spread(
    partition: GraphPartition, vertices: IntArray, logarithms: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Adds each vertex's logarithm to all its in-neighbours: sums of inner and halo vertices."""
    first, end = partition.book.range(partition.part_id)
    inner = np.zeros(end - first)
    halo = np.zeros(len(partition.halo))
    starts = partition.indptr[vertices]
    degrees = partition.indptr[vertices + 1] - starts
    ends = np.cumsum(degrees)
    begin = 0
    while begin < len(vertices):
        spent = ends[begin - 1] if begin else 0
        stop = max(begin + 1, int(np.searchsorted(ends, spent + _MAX_EDGES, side="right")))
        counts = degrees[begin:stop]
        before = np.repeat(np.cumsum(counts) - counts, counts)
        edges = np.repeat(starts[begin:stop], counts) + np.arange(len(before)) - before
        neighbors = partition.indices[edges]
        weights = np.repeat(logarithms[begin:stop], counts)
        is_inner = (neighbors >= first) & (neighbors < end)
        inner += np.bincount(neighbors[is_inner] - first, weights[is_inner], len(inner))
        places = np.searchsorted(partition.halo, neighbors[~is_inner])
        halo += np.bincount(places, weights[~is_inner], len(halo))
        begin = stop
    return inner, halo


def _address(
    partition: GraphPartition,
    origin: int,
    halo: FloatArray,
    outbox: _Outbox,
) -> None:
    """Sorts sums of halo vertices by their owner."""
    places = np.flatnonzero(halo)
    ids = np.asarray(partition.halo)[places]
    cuts = np.searchsorted(ids, partition.book.offsets)
    for owner in range(partition.book.num_parts):
        cut = slice(cuts[owner], cuts[owner + 1])
        if cut.start < cut.stop:
            outbox[owner].append((origin, ids[cut], halo[places[cut]]))


def _pack(items: list[tuple[int, IntArray, FloatArray]]) -> VipMessage:
    empty = np.zeros(0, dtype=np.int64)
    return VipMessage(
        np.concatenate([empty, *(np.full(len(ids), origin) for origin, ids, _ in items)]),
        np.concatenate([empty, *(ids for _, ids, _ in items)]),
        np.concatenate([np.zeros(0), *(values for _, _, values in items)]),
    )


def _by_origin(
    arrived: Sequence[VipMessage], inner: dict[int, FloatArray], first: int, num_inner: int
) -> Iterator[tuple[int, FloatArray]]:
    """Adds up, for one origin after the other, what came from the part itself and from others."""
    origins = {int(origin) for message in arrived for origin in np.unique(message.origins)}
    for origin in sorted(origins | inner.keys()):
        sums = inner.pop(origin, None)
        if sums is None:
            sums = np.zeros(num_inner)
        for message in arrived:
            low, high = np.searchsorted(message.origins, [origin, origin + 1])
            sums[message.ids[low:high] - first] += message.values[low:high]
        yield origin, sums
