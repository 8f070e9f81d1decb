"""Edges of generated graphs, each a function of the seed and its number, made on all cores."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.datasets.counter_hash import IdScramble, random_bits, stream_key, uniform
from gnnflow.datasets.generated.generator_spec import RmatSpec, SbmSpec
from gnnflow.datasets.raw_graph import Progress
from gnnflow.files.array_sink import ArraySink

EdgeMaker = Callable[[int, int], tuple[NDArray[np.int64], NDArray[np.int64]]]
"""Returns sources and destinations of the edges from `start` up to `stop`."""

Communities = Callable[[NDArray[np.int64]], NDArray[np.int64]]
"""Returns the planted communities of vertex ids."""

CHUNK_EDGES = 1 << 18
"""Edges that a thread makes at a time; small enough to stay in the processor's cache."""

ID_TYPE = np.dtype(np.int32)
"""Generated graphs have at most 2^31 vertices."""

_LEVELS_PER_HASH = 4
_LEVEL_BITS = 16


def rmat(spec: RmatSpec, seed: int) -> tuple[EdgeMaker, Communities]:
    """Makes an R-MAT graph; a community is a range of ranks, that is, a prefix of their digits.

    Source: Chakrabarti, Zhan and Faloutsos, R-MAT: A Recursive Model for Graph Mining, SDM 2004.
    A number of vertices that is no power of two takes ranks scaled down from the next one.
    """
    scramble = IdScramble(spec.vertices, seed)
    num_levels = max(1, (spec.vertices - 1).bit_length())
    keys = [stream_key(seed, f"rmat {level}") for level in range(0, num_levels, _LEVELS_PER_HASH)]
    one = 1 << _LEVEL_BITS
    first, second, third = np.rint(np.cumsum([spec.a, spec.b, spec.c]) * one).astype(np.int32)

    def make(start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        positions = np.arange(start, stop)
        ends = np.zeros((2, stop - start), dtype=np.int64)
        for level in range(num_levels):
            if level % _LEVELS_PER_HASH == 0:
                bits = random_bits(keys[level // _LEVELS_PER_HASH], positions)
            draw = (bits & np.uint64(one - 1)).astype(np.int32)
            bits >>= np.uint64(_LEVEL_BITS)
            # The four cases follow each other as 00, 01, 10, 11: source bit, destination bit.
            source_bit = draw >= second
            destination_bit = (draw >= first) ^ source_bit ^ (draw >= third)
            ends <<= 1
            ends[0] |= source_bit
            ends[1] |= destination_bit
        ranks = ends * spec.vertices >> num_levels
        return scramble.ids(ranks[0]), scramble.ids(ranks[1])

    def communities(ids: NDArray[np.int64]) -> NDArray[np.int64]:
        return scramble.ranks(ids) * spec.classes // spec.vertices

    return make, communities


def sbm(spec: SbmSpec, seed: int) -> tuple[EdgeMaker, Communities]:
    """Makes a degree-corrected stochastic block model; communities take turns over the ranks.

    Both ends of an edge are drawn by weight, a power of the rank; the destination from the
    community of the source with the chance `within`, from all vertices otherwise.

    Source: Karrer and Newman, Stochastic blockmodels and community structure in networks, Physical
    Review E 83, 2011.
    """
    scramble = IdScramble(spec.vertices, seed)
    keys = {name: stream_key(seed, f"sbm {name}") for name in ("source", "within", "destination")}
    num_all, num_classes = spec.vertices, spec.classes
    power = 1 / (spec.exponent - 1)
    offset = _rank_offset(spec, power)

    def draw(chance: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.int64]:
        """Draws a place below `sizes` with weight (place + offset * size / all) ^ -power."""
        low = (offset / num_all) ** (1 - power)
        high = (1 + offset / num_all) ** (1 - power)
        share = (low + chance * (high - low)) ** (1 / (1 - power)) - offset / num_all
        place = (share * sizes).astype(np.int64)
        last = sizes.astype(np.int64) - 1
        kept: NDArray[np.int64] = np.clip(place, 0, last)  # rounding may lead past either end
        return kept

    def make(start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        positions = np.arange(start, stop)
        everything = np.full(len(positions), float(num_all))
        sources = draw(uniform(keys["source"], positions), everything)
        stays = uniform(keys["within"], positions) < spec.within
        community = sources % num_classes
        members = (num_all - community + num_classes - 1) // num_classes
        place = draw(uniform(keys["destination"], positions), np.where(stays, members, everything))
        destinations = np.where(stays, place * num_classes + community, place)
        return scramble.ids(sources), scramble.ids(destinations)

    def communities(ids: NDArray[np.int64]) -> NDArray[np.int64]:
        return scramble.ranks(ids) % num_classes

    return make, communities


def make_edges(
    make: EdgeMaker, num_edges: int, file: Path | None, progress: Progress | None
) -> NDArray[Any]:
    """Makes the edges, `[2, num_edges]`, in memory or in a .npy file that is mapped.

    Raises:
        DataError: The file cannot be written, or its disk has not enough room.
    """
    with ArraySink((2, num_edges), ID_TYPE, file) as sink:

        def write(row: int, start: int, ends: NDArray[Any]) -> None:
            sink.write(row * num_edges + start, ends)

        _make_chunks(make, num_edges, write, progress)
        return sink.array()


def _rank_offset(spec: SbmSpec, power: float) -> float:
    """Returns what is added to ranks so that the first draws about sqrt(edges) out-edges.

    Beyond this cutoff a power law cannot come without correlation between degrees.
    """

    def largest(offset: float) -> float:
        total = (spec.vertices + offset) ** (1 - power) - offset ** (1 - power)
        return float(spec.edges * (1 - power) * offset**-power / total)

    low, high = 1e-6, 1e6 * spec.vertices
    for _ in range(200):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if largest(middle) > spec.edges**0.5 else (low, middle)
    return high


def _make_chunks(
    make: EdgeMaker,
    num_edges: int,
    sink: Callable[[int, int, NDArray[Any]], None],
    progress: Progress | None,
) -> None:
    """Makes all edges on all cores; `sink` gets row (0 or 1), number of the first edge, ends."""

    def one(start: int) -> int:
        stop = min(num_edges, start + CHUNK_EDGES)
        for row, ends in enumerate(make(start, stop)):
            sink(row, start, ends.astype(ID_TYPE))
        return stop

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for stop in pool.map(one, range(0, num_edges, CHUNK_EDGES)):
            if progress is not None:
                progress("making edges", stop, num_edges)
