"""Neighbour lists in memory where they fit: half as wide as in the file, and never paged out."""

from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

from gnnflow.errors import ConfigError

_CHUNK_ENTRIES = 1 << 24
_SHARE_OF_MEMORY = 8


def default_budget_bytes(num_ranks_here: int) -> int:
    """Returns what a rank's neighbour lists may take: an eighth of the machine between its ranks.

    Args:
        num_ranks_here: ranks of the job on this machine.
    """
    return int(psutil.virtual_memory().total) // _SHARE_OF_MEMORY // max(1, num_ranks_here)


def resident_indices(
    indices: npt.NDArray[Any], num_vertices: int, budget_bytes: int
) -> npt.NDArray[Any]:
    """Copies neighbour lists into memory, as int32 where global ids fit.

    Args:
        indices: int64 `[num_edges]`, global ids; a mapped file.
        num_vertices: vertices of the whole graph.
        budget_bytes: what the copy may take, at least 0.

    Returns:
        int32 or int64 `[num_edges]`, or the mapped file itself where the copy would take more.

    Raises:
        ConfigError: if the budget is negative.
    """
    if budget_bytes < 0:
        raise ConfigError(f"topology_bytes must not be negative, got {budget_bytes}")
    dtype = np.dtype(np.int32 if num_vertices <= np.iinfo(np.int32).max else np.int64)
    if len(indices) * dtype.itemsize > budget_bytes:
        return indices
    resident = np.empty(len(indices), dtype=dtype)
    for start in range(0, len(indices), _CHUNK_ENTRIES):
        resident[start : start + _CHUNK_ENTRIES] = indices[start : start + _CHUNK_ENTRIES]
    return resident
