"""Both directions of every edge."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def both_directions(edges: NDArray[Any], num_vertices: int) -> NDArray[Any]:
    """Adds the reverse of every edge; each pair is kept once, and self loops once.

    Args:
        edges: `[2, num_edges]`, int32 or int64.
        num_vertices: Vertices are numbered from 0 to `num_vertices - 1`.

    Returns:
        `[2, num_pairs]` of the same type, sorted by source and then by destination.
    """
    sources, destinations = edges.astype(np.int64)
    keys = np.concatenate(
        [sources * num_vertices + destinations, destinations * num_vertices + sources]
    )
    return np.stack(np.divmod(np.unique(keys), num_vertices)).astype(edges.dtype)
