"""What the halo cache holds before the first minibatch, and how large it is."""

import math

import numpy as np
import numpy.typing as npt

from gnnflow.cache.vertex_values import VertexValues
from gnnflow.errors import ConfigError, did_you_mean

FILLS = ("empty", "degree", "random", "vip")
"""Names of the fills: nothing; halo vertices with the most neighbours; any; the remote vertices
that a minibatch needs with the largest probability."""


def fill_candidates(
    fill: str,
    halo: npt.NDArray[np.int64],
    halo_degree: npt.NDArray[np.int64],
    *,
    vip: VertexValues | None = None,
    seed: int = 0,
) -> VertexValues:
    """Returns the values by which `HaloCache.fill` picks rows.

    Args:
        fill: One of `FILLS`.
        halo: int64 `[num_halo]`, ascending.
        halo_degree: int64 `[num_halo]`, in-degrees of the halo vertices in the whole graph.
        vip: Vertex inclusion probabilities of remote vertices, for `vip`.
        seed: Seed of `random`.

    Raises:
        ConfigError: If the fill is not known, or `vip` is asked for without probabilities.
    """
    if fill == "empty":
        return VertexValues(halo[:0], np.zeros(0, dtype=np.float32))
    if fill == "degree":
        # A halo vertex without in-neighbours is as good as any other that is left.
        return VertexValues(halo, halo_degree.astype(np.float32) + 1)
    if fill == "random":
        order = np.random.default_rng(seed).permutation(len(halo))
        return VertexValues(halo, order.astype(np.float32) + 1)
    if fill == "vip":
        if vip is None:
            raise ConfigError(
                "the fill vip needs vertex inclusion probabilities, which are not there; "
                "use degree instead"
            )
        return vip
    hint = did_you_mean(fill, FILLS)
    raise ConfigError(f"unknown cache fill '{fill}'{hint} (known: {', '.join(FILLS)})")


def cache_capacity(
    *, fraction: float | None, max_bytes: int | None, num_halo: int, row_bytes: int
) -> int:
    """Returns the number of rows that a budget allows.

    Args:
        fraction: Share of the halo vertices, in [0, 1]; None if bytes are given.
        max_bytes: Bytes of rows; None if a fraction is given.
        num_halo: Halo vertices of the part.
        row_bytes: Size of one row.

    Raises:
        ConfigError: If both or neither are given, or one is out of range.
    """
    if (fraction is None) == (max_bytes is None):
        raise ConfigError("give either cache_fraction or cache_bytes for the budget of the cache")
    if fraction is not None:
        if not 0 <= fraction <= 1:
            raise ConfigError(
                f"cache_fraction must be in [0, 1], got {fraction}; "
                "use cache_bytes for an absolute budget"
            )
        return math.floor(fraction * num_halo)
    assert max_bytes is not None
    if max_bytes < 0:
        raise ConfigError(f"cache_bytes must not be negative, got {max_bytes}")
    return max_bytes // max(row_bytes, 1)
