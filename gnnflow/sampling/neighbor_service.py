"""Neighbour lists that other ranks may ask for: kept in memory, drawn from, and asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

from gnnflow import _kernels
from gnnflow.array_types import Ids
from gnnflow.comm.calls import Request
from gnnflow.comm.messages import Message
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


@dataclass(frozen=True, slots=True)
class Draw:
    """What determines the neighbours of a vertex at one hop, besides the minibatch."""

    seed: int
    hop: int
    fanout: int
    replace: bool
    with_edge_ids: bool
    every: int = 0
    """Steps for which a source keeps its key; 0 draws without keys. With keys, minibatches are
    numbered by their steps."""
    weighted: bool = False
    """Whether the weights of the edges count."""


class NeighborAnswers:
    """Answers questions for neighbours of this rank's vertices."""

    def __init__(
        self, topology: _kernels.Topology, num_threads: int, id_dtype: npt.DTypeLike
    ) -> None:
        """Takes the topology that holds them.

        Args:
            topology: in-neighbours of the vertices that other ranks will ask for.
            num_threads: threads that draw.
            id_dtype: int32 or int64: how ids travel.
        """
        self._topology = topology
        self._num_threads = num_threads
        self._id_dtype = np.dtype(id_dtype)

    def __call__(self, message: Message) -> Sequence[npt.NDArray[Any]]:
        """Returns the number of neighbours of each vertex, the neighbours and their edge ids."""
        seed, hop, fanout, replace, with_edge_ids, every, weighted = message.params
        minibatches, epochs, sizes, ids = message.arrays
        counts, neighbors, edge_ids = _kernels.sample_neighbors(
            self._topology,
            ids.astype(np.int64, copy=False),
            minibatches,
            sizes,
            fanout,
            hop,
            seed,
            epochs,
            replace=bool(replace),
            with_edge_ids=bool(with_edge_ids),
            num_threads=self._num_threads,
            every=every,
            weighted=bool(weighted),
        )
        answer = [counts.astype(self._id_dtype), neighbors.astype(self._id_dtype)]
        return answer if edge_ids is None else [*answer, edge_ids]


def neighbor_request(
    peer: int,
    draw: Draw,
    minibatches: Ids,
    epochs: Ids,
    sizes: Ids,
    ids: npt.NDArray[Any],
) -> Request:
    """Writes the question for neighbours of one rank's vertices.

    Args:
        peer: the owner.
        draw: how to draw.
        minibatches: int64 `[num_segments]`: minibatch of each segment of the ids.
        epochs: int64 `[num_segments]`: its epoch.
        sizes: int64 `[num_segments]`: ids of each segment.
        ids: int32 or int64 `[num_ids]`: global ids of vertices.
    """
    flags = (int(draw.replace), int(draw.with_edge_ids))
    params = (draw.seed, draw.hop, draw.fanout, *flags, draw.every, int(draw.weighted))
    return Request(peer, params, (minibatches, epochs, sizes, ids))
