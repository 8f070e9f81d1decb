"""Random numbers that are a pure function of seed, purpose and position.

Edge 7 of a generated graph, or feature 3 of vertex 12, comes out the same whichever chunk or
thread computes it, and nothing needs to be kept.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


def _mix(value: int) -> int:
    value = ((value ^ (value >> 30)) * _FIRST) & _MASK
    value = ((value ^ (value >> 27)) * _SECOND) & _MASK
    return value ^ (value >> 31)


def stream_key(seed: int, purpose: str) -> int:
    """Returns the key of an independent stream of random numbers."""
    key = _mix((seed + _GOLDEN) & _MASK)
    for byte in purpose.encode():
        key = _mix(((key ^ byte) + _GOLDEN) & _MASK)
    return key


def random_bits(key: int, positions: NDArray[Any]) -> NDArray[np.uint64]:
    """Returns 64 random bits for each position of a stream.

    Source: Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014
    (the output function of SplitMix64, at a given position of its sequence).

    Args:
        key: From `stream_key`.
        positions: Integers from 0, of any shape.
    """
    bits = positions.astype(np.uint64)
    bits *= np.uint64(_GOLDEN)
    bits += np.uint64((key + _GOLDEN) & _MASK)
    bits ^= bits >> np.uint64(30)
    bits *= np.uint64(_FIRST)
    bits ^= bits >> np.uint64(27)
    bits *= np.uint64(_SECOND)
    bits ^= bits >> np.uint64(31)
    return bits


def uniform(key: int, positions: NDArray[Any]) -> NDArray[np.float64]:
    """Returns a number in [0, 1) for each position of a stream."""
    return (random_bits(key, positions) >> np.uint64(11)).astype(np.float64) * np.float64(2.0**-53)


def roughly_normal(key: int, positions: NDArray[Any]) -> NDArray[np.float32]:
    """Returns numbers of mean 0 and variance 1 with a bell-shaped density for each position.

    The sum of four 16-bit uniform numbers of one hash: integers until the last step, so the same
    bits on every machine, and several times as fast as a transformation to exact normality.
    """
    bits = random_bits(key, positions)
    total = (bits & np.uint64(0xFFFF)).astype(np.float32)
    for shift in (16, 32, 48):
        total += (bits >> np.uint64(shift)) & np.uint64(0xFFFF)
    total -= np.float32(2 * 0xFFFF)
    total *= np.float32((12 / 4) ** 0.5 / 0x10000)
    return total


class IdScramble:
    """A fixed permutation of vertex ids that neither way needs a table.

    Generators place vertices by rank, so that neighbouring ranks are alike; scrambled ids hide it.
    The permutation is `id = (rank * multiplier + shift) mod num_vertices`.
    """

    def __init__(self, num_vertices: int, seed: int) -> None:
        """Draws the permutation; `num_vertices` is at most 2^31, so that products fit 64 bits."""
        key = stream_key(seed, "scramble")
        self._num_vertices = num_vertices
        # Near the golden section of the ids, so that close ranks land far from each other.
        multiplier = (int(num_vertices * 0.618) + _mix(key) % 1024) % num_vertices or 1
        while np.gcd(multiplier, num_vertices) != 1:
            multiplier += 1
        self._multiplier = multiplier % num_vertices or 1
        self._shift = key % num_vertices
        self._inverse = pow(self._multiplier, -1, num_vertices) if num_vertices > 1 else 1

    def ids(self, ranks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the ids of ranks."""
        return (ranks * self._multiplier + self._shift) % self._num_vertices

    def ranks(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the ranks of ids."""
        return (ids - self._shift) % self._num_vertices * self._inverse % self._num_vertices
