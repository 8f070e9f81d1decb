"""Keeping some edges out of the graph, to ask a model about them: a split by a pure hash."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow.array_types import IntArray
from gnnflow.datasets.counter_hash import random_bits, stream_key
from gnnflow.errors import ConfigError
from gnnflow.files.reserved_file import new_mapped_array
from gnnflow.partition.csc import edge_chunks
from gnnflow.partition.stage_progress import Progress, silent

HELD_OUT = ("val", "test")
"""Splits of edges that a partition keeps apart from its topology."""

EDGES_LEFT_FILE = "edges_left.npy"
"""Scratch file of the edges that are left; its user removes it."""


@dataclass(frozen=True, slots=True)
class EdgeSplit:
    """The edges that messages flow along, and those kept out."""

    edges: npt.NDArray[Any]
    """`[2, num_left]`, in input order, mapped from a scratch file."""
    input_edge_id: IntArray | None
    """int64 `[num_left]`: where each edge was in the input, if that was asked for."""
    held_out: dict[str, npt.NDArray[Any]]
    """`val` and `test`: `[2, n]` original ids, in input order."""


def edge_split_codes(
    sources: npt.NDArray[Any],
    destinations: npt.NDArray[Any],
    shares: tuple[float, float],
    seed: int,
) -> npt.NDArray[np.int8]:
    """Says which split each edge is in: 0 stays, 1 `val`, 2 `test`.

    The answer is a function of the seed and of the two vertices, whichever way the edge goes: an
    edge, its reverse and parallel edges stay together, so that none gives another away.

    Args:
        sources: `[n]` original ids.
        destinations: `[n]` original ids.
        shares: Share of the pairs in `val` and in `test`.
        seed: Seed of the split.
    """
    low = np.minimum(sources, destinations)
    high = np.maximum(sources, destinations)
    bits = random_bits(stream_key(seed, "edge split: one end"), low)
    bits ^= high.astype(np.uint64)
    draws = random_bits(stream_key(seed, "edge split: both ends"), bits)
    uniform = (draws >> np.uint64(11)).astype(np.float64) * 2.0**-53
    codes = np.zeros(len(low), dtype=np.int8)
    codes[uniform < shares[0] + shares[1]] = 2
    codes[uniform < shares[0]] = 1
    return codes


def hold_out_edges(
    edges: npt.NDArray[Any],
    shares: tuple[float, float],
    seed: int,
    scratch: Path,
    *,
    keep_edge_ids: bool,
    progress: Progress = silent,
) -> EdgeSplit:
    """Splits edges; what is left goes to `EDGES_LEFT_FILE`, memory holds the held-out ones alone.

    Args:
        edges: int32 or int64 `[2, num_edges]`, original ids.
        shares: Share of the pairs of vertices in `val` and in `test`.
        seed: Seed of the split.
        scratch: A folder for the file.
        keep_edge_ids: Whether to return where the edges were.
        progress: Told about the edges done.

    Raises:
        ConfigError: If no edge is left.
    """

    def chunks(stage: str) -> Iterator[tuple[int, npt.NDArray[Any], npt.NDArray[np.int8]]]:
        for first, sources, destinations in edge_chunks(edges, stage, progress):
            ends = np.stack([sources, destinations])
            yield first, ends, edge_split_codes(sources, destinations, shares, seed)

    num_left = sum(int((codes == 0).sum()) for _, _, codes in chunks("splitting edges"))
    if not num_left:
        raise ConfigError(
            f"val_edges {shares[0]} and test_edges {shares[1]} leave none of the {edges.shape[1]} "
            "edges to learn from; take smaller shares"
        )
    path = scratch / EDGES_LEFT_FILE
    left = new_mapped_array(path, edges.dtype, (2, num_left))
    edge_id = np.empty(num_left, dtype=np.int64) if keep_edge_ids else None
    held_out: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in HELD_OUT}
    start = 0
    for first, ends, codes in chunks("holding out edges"):
        stays = np.flatnonzero(codes == 0)
        stop = start + len(stays)
        left[:, start:stop] = ends[:, stays]
        if edge_id is not None:
            edge_id[start:stop] = first + stays
        for code, name in enumerate(HELD_OUT, start=1):
            held_out[name].append(ends[:, codes == code])
        start = stop
    left.flush()
    return EdgeSplit(
        edges=np.load(path, mmap_mode="r", allow_pickle=False),
        input_edge_id=edge_id,
        held_out={
            name: np.concatenate(pieces, axis=1) if pieces else np.empty((2, 0), edges.dtype)
            for name, pieces in held_out.items()
        },
    )
