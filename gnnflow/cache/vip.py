"""Vertex inclusion probabilities: how likely a minibatch of this rank needs the row of a vertex.

Source: Kaler et al., "Communication-Efficient Graph Neural Networks with Probabilistic Neighborhood
Expansion Analysis and Caching", MLSys 2023 (SALIENT++). For the train seeds of one rank, each of
which is in one of its minibatches per epoch,

    p_0(v) = 1 / steps,
    p_h(u) = 1 - prod over edges u -> v of (1 - min(1, f_h / degree(v)) p_(h-1)(v)),
    vip(u) = 1 - prod over h of (1 - p_h(u)).

A rank walks from its own seeds, hop by hop, and asks the sampler for the neighbours of what it has
reached, as it does for minibatches: owners answer while they do something else, ranks need not
keep step, and none works for more seeds than its own. In a small graph whole lists are
asked for and the result is exact. In a large one the walk does as much as some number of
minibatches would: a vertex that they would expand `n` times has `n * f_h` neighbours drawn, at most
all, and is left out with probability `1 - n` if `n` is less than 1; those that stay count for
more, so that expectations are kept. This way the work of a rank follows its seeds, whatever the
number of ranks, and memory the vertices that it reaches.

Where neighbours are drawn by weight, `f_h / degree(v)` is another number for each edge: the share
of some draws of `f_h` neighbours in which it is, about as many neighbours in all.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gnnflow.array_types import FloatArray, IntArray
from gnnflow.cache.vertex_values import VertexValues
from gnnflow.partition import GraphPartition
from gnnflow.sampling import SampledSubgraph

LEAST_DRAWS = 1 << 23
"""Neighbours that a hop may draw however short the epochs are: a second or two."""
EPOCH_SHARE = 1.0
"""Neighbours that a hop may draw, as a share of what an epoch draws there."""

# Neighbours that are drawn at once: bounds the memory of a step.
_CHUNK_DRAWS = 1 << 21
_MERGE_AT = 1 << 22
_ALL = -1
_SEARCH_SAMPLE = 1 << 16
_TINY = 1e-12
_MAX_ROUNDS = 32


class NeighborSource(Protocol):
    """A sampler of neighbours, on the local graph or across ranks."""

    def sample(
        self, seeds: npt.NDArray[np.int64], fanouts: Sequence[int], *, epoch: int, minibatch: int
    ) -> SampledSubgraph:
        """Samples the neighbourhood of seeds, without replacement, all alike or by weight."""


class WalkProgress(Protocol):
    """Is told how far the walk is."""

    def __call__(self, hop: int, done: float) -> None:
        """Tells which share of a hop is done."""


def inclusion_probabilities(
    partition: GraphPartition,
    sampler: NeighborSource,
    seeds: IntArray,
    *,
    num_steps: int,
    fanout: Sequence[int],
    least_draws: int = LEAST_DRAWS,
    min_probability: float = 1e-6,
    weighted: bool = False,
    progress: WalkProgress | None = None,
) -> VertexValues:
    """Walks from the seeds of one rank.

    The result follows from the arguments alone.

    Args:
        partition: The part of this rank.
        sampler: Samples the whole graph, with a seed of its own.
        seeds: int64 `[num_seeds]`, global ids: what this rank trains on in an epoch, as often as
            it does so.
        num_steps: Minibatches per epoch.
        fanout: Neighbours kept per hop, seeds first; -1 keeps all.
        least_draws: Neighbours that each hop may draw in any case.
        min_probability: What is less likely is taken for impossible.
        weighted: Whether the sampler draws by weight.
        progress: Told how far the walk is, hop by hop.

    Returns:
        The probabilities of vertices of other parts for the minibatches of this rank.
    """
    first, end = partition.book.range(partition.part_id)
    degrees = _Degrees(partition)
    ids, times = np.unique(np.asarray(seeds, dtype=np.int64), return_counts=True)
    probabilities = np.minimum(times / max(num_steps, 1), 1.0)
    total = _Sums(first, end)
    total.add(ids, _log_not(probabilities))
    for hop, width in enumerate(fanout):
        at_most = degrees.at(ids)
        kept = at_most if width < 0 else np.minimum(at_most, width)
        of_epoch = num_steps * float(probabilities @ kept)
        max_draws = max(least_draws, EPOCH_SHARE * of_epoch)
        plan = _HopPlan.make(*(ids, probabilities, at_most, width), max_draws=max_draws, salt=hop)
        sums = _Sums(first, end)
        num_done = 0
        for chunk in plan.chunks():
            rounds = chunk.rounds(width, max_draws / plan.num_draws) if weighted else 1
            fan = width if weighted else chunk.width
            for number in range(chunk.number * rounds, (chunk.number + 1) * rounds):
                subgraph = sampler.sample(ids[chunk.places], [fan], epoch=hop, minibatch=number)
                drawn = np.diff(subgraph.indptr)
                # Of a list of which more is drawn than a minibatch keeps, or all, each counts less.
                share = 1.0 if width < 0 else np.minimum(1, width / np.maximum(drawn, 1))
                of_round = _log_not(share * plan.probabilities[chunk.places]) / rounds
                weights = np.repeat(of_round, drawn)
                sums.add(subgraph.vertices, _added_up(subgraph.src, weights, subgraph.num_vertices))
            num_done += chunk.num_draws
            if progress is not None:
                progress(hop, num_done / plan.num_draws)
        ids, logarithms = sums.items(below=float(np.log1p(-min_probability)))
        probabilities = -np.expm1(logarithms)
        total.add(ids, logarithms)
    ids, logarithms = total.items(below=0)
    is_elsewhere = (ids < first) | (ids >= end)
    values = -np.expm1(logarithms[is_elsewhere])
    return VertexValues(ids[is_elsewhere], values.astype(np.float32))


def _log_not(probabilities: FloatArray) -> FloatArray:
    """Logarithms of the opposites; what is certain is only nearly so."""
    logarithms: FloatArray = np.log1p(-np.minimum(probabilities, 1 - _TINY))
    return logarithms


def _added_up(places: IntArray, weights: FloatArray, num_places: int) -> FloatArray:
    sums: FloatArray = np.bincount(places, weights, num_places).astype(np.float64, copy=False)
    return sums


@dataclass(frozen=True, slots=True)
class _SeedChunk:
    """Vertices that are asked for together, with as many neighbours each."""

    number: int
    places: IntArray
    width: int
    num_draws: int

    def rounds(self, width: int, spare: float) -> int:
        """How often to draw so many neighbours of each in place of more at once.

        Args:
            width: neighbours that a minibatch keeps; -1 for all.
            spare: how many times as many neighbours might be drawn.
        """
        if width < 0:
            return 1
        at_once = self.num_draws / (width * len(self.places))
        return min(_MAX_ROUNDS, math.ceil(at_once * max(spare, 1)))


@dataclass(frozen=True, slots=True)
class _HopPlan:
    """How many neighbours of which vertices one hop draws."""

    probabilities: FloatArray
    """float64 `[num_vertices]`: what each counts with if it stays."""
    widths: IntArray
    """int64 `[num_vertices]`: neighbours to draw of each; -1 for all, 0 if it is left out."""
    draws: IntArray
    """int64 `[num_vertices]`: about how many that are."""

    @classmethod
    def make(
        cls,
        ids: IntArray,
        probabilities: FloatArray,
        degrees: IntArray,
        width: int,
        *,
        max_draws: float,
        salt: int,
    ) -> "_HopPlan":
        """Decides what to draw.

        Args:
            ids: int64 `[num_vertices]`, what is reached.
            probabilities: that a minibatch reaches it.
            degrees: about how many in-neighbours each has.
            width: neighbours that a minibatch keeps; -1 for all.
            max_draws: about how many neighbours may be drawn, on average over coins.
            salt: of the coins by which unlikely vertices stay or not.
        """
        imitated = _imitated_minibatches(probabilities, degrees, width, max_draws)
        if imitated == math.inf:
            widths = np.where(degrees > 0, _ALL, 0)
            return cls(probabilities, widths, degrees)
        expansions = imitated * probabilities
        stays = (_coins(ids, salt) < expansions) & (degrees > 0)
        if width < 0:
            draws = degrees
        else:
            # Powers of two, so that many are asked for together.
            doubled = width * np.exp2(np.ceil(np.log2(np.maximum(expansions, 1))))
            draws = np.minimum(doubled, degrees).astype(np.int64)
        widths = np.where(draws < degrees, draws, _ALL)
        return cls(
            np.maximum(probabilities, min(1 / imitated, 1.0)),
            np.where(stays, widths, 0),
            np.where(stays, draws, 0),
        )

    @property
    def num_draws(self) -> int:
        """About how many neighbours are drawn."""
        return int(self.draws.sum())

    def chunks(self) -> Iterator[_SeedChunk]:
        """Cuts the vertices so that none draws much more than others, a vertex at least each."""
        number = 0
        for width in np.unique(self.widths).tolist():
            if width == 0:
                continue
            places = np.flatnonzero(self.widths == width)
            ends = np.cumsum(self.draws[places])
            cuts = np.flatnonzero(np.diff((ends - 1) // _CHUNK_DRAWS)) + 1
            for piece in np.split(places, cuts):
                yield _SeedChunk(number, piece, width, int(self.draws[piece].sum()))
                number += 1


def _imitated_minibatches(
    probabilities: FloatArray, degrees: IntArray, width: int, max_draws: float
) -> float:
    """For how many minibatches the draws suffice; infinite if they do for all neighbours."""
    if float(degrees.sum()) <= max_draws:
        return math.inf
    every = max(1, len(degrees) // _SEARCH_SAMPLE)
    likely, most = probabilities[::every], degrees[::every]
    allowed = max_draws / every
    kept = most if width < 0 else np.minimum(most, width)

    def cost(logarithm: float) -> float:
        expansions = likely * np.exp2(logarithm)
        wanted = np.minimum(most, kept * np.maximum(expansions, 1))
        return float(np.minimum(expansions, 1) @ wanted)

    low, high = 0.0, 60.0  # one minibatch at least
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (middle, high) if cost(middle) <= allowed else (low, middle)
    return float(np.exp2(low))


def _coins(ids: IntArray, salt: int) -> FloatArray:
    """A number in [0, 1) for each id (splitmix64)."""
    mixed = ids.astype(np.uint64) + np.uint64((salt + 1) * 0x9E3779B97F4A7C15 % (1 << 64))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    coins: FloatArray = (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return coins


class _Degrees:
    """In-degrees as far as a part knows them; of others the mean of its halo."""

    def __init__(self, partition: GraphPartition) -> None:
        self._partition = partition
        self._first, self._end = partition.book.range(partition.part_id)
        halo_degree = np.asarray(partition.halo_degree)
        self._otherwise = math.ceil(halo_degree.mean()) if len(halo_degree) else 1

    def at(self, ids: IntArray) -> IntArray:
        """The in-degrees of ascending ids."""
        partition = self._partition
        degrees = np.full(len(ids), self._otherwise, dtype=np.int64)
        low, high = np.searchsorted(ids, [self._first, self._end])
        inner = ids[low:high] - self._first
        degrees[low:high] = partition.indptr[inner + 1] - partition.indptr[inner]
        halo = np.asarray(partition.halo)
        for side in (slice(0, low), slice(high, len(ids))):
            if len(halo):
                places = np.minimum(np.searchsorted(halo, ids[side]), len(halo) - 1)
                is_halo = halo[places] == ids[side]
                known = np.asarray(partition.halo_degree)[places]
                degrees[side] = np.where(is_halo, known, degrees[side])
        return degrees


class _Sums:
    """Adds up numbers that are not positive by vertex; of outer vertices those that occur."""

    def __init__(self, first: int, end: int) -> None:
        self._first = first
        self._inner = np.zeros(end - first)
        self._merged = (np.zeros(0, dtype=np.int64), np.zeros(0))
        self._waiting: list[tuple[IntArray, FloatArray]] = []
        self._num_waiting = 0

    def add(self, ids: IntArray, numbers: FloatArray) -> None:
        """Adds a number to each of some distinct vertices."""
        places = ids - self._first
        is_inner = (places >= 0) & (places < len(self._inner))
        self._inner[places[is_inner]] += numbers[is_inner]
        is_outer = ~is_inner & (numbers < 0)
        self._waiting.append((ids[is_outer], numbers[is_outer]))
        self._num_waiting += len(self._waiting[-1][0])
        if self._num_waiting > max(_MERGE_AT, len(self._merged[0])):
            self._merge()

    def items(self, below: float) -> tuple[IntArray, FloatArray]:
        """Vertices in ascending order and their sums, those below a limit alone."""
        self._merge()
        outer_ids, outer_sums = self._merged
        chosen = outer_sums < below
        outer_ids, outer_sums = outer_ids[chosen], outer_sums[chosen]
        places = np.flatnonzero(self._inner < below)
        cut = np.searchsorted(outer_ids, self._first)
        ids = [outer_ids[:cut], places + self._first, outer_ids[cut:]]
        sums = [outer_sums[:cut], self._inner[places], outer_sums[cut:]]
        return np.concatenate(ids), np.concatenate(sums)

    def _merge(self) -> None:
        both = [self._merged, *self._waiting]
        ids, places = np.unique(np.concatenate([ids for ids, _ in both]), return_inverse=True)
        sums = _added_up(places, np.concatenate([sums for _, sums in both]), len(ids))
        self._merged = (ids, sums)
        self._waiting, self._num_waiting = [], 0
