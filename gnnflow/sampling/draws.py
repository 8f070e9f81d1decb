"""Which in-neighbours a sampler keeps: a draw for each vertex, or keys that vertices share.

With keys, the neighbours whose sources have the smallest ones are kept. A key is a function of the
seed, of the source and of a round that lasts for some steps, so that all destinations of a step,
on all ranks, prefer the same sources (`shared`: LABOR, Balin and Catalyurek 2023), and steps that
follow each other do so too (`dependent`: dependent minibatches, Balin et al. 2023). For one vertex
in one step every draw is uniform over the subsets of its in-neighbours.

With weights of edges each of these draws keeps the smallest -log(u) / weight instead, u from the
numbers of the vertex or from the key (Efraimidis and Spirakis 2006).
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from gnnflow import _kernels
from gnnflow.array_types import Ids
from gnnflow.comm import Context
from gnnflow.errors import ConfigError
from gnnflow.files.shared_array import map_shared_array, new_shared_array
from gnnflow.partition import GraphPartition

DrawName = Literal["independent", "shared", "dependent"]
MAX_DRAW_EVERY = 1 << 31
_IDS_AT_ONCE = 1 << 22


def steps_of_a_key(draw: str, draw_every: int, replace: bool = False) -> int:
    """Steps for which a source keeps its key; 0 for the draw without keys.

    Args:
        draw: name of the draw.
        draw_every: steps of `dependent`.
        replace: whether a neighbour may be drawn several times.

    Raises:
        ConfigError: if there is no such draw or number of steps, or no such draw with `replace`.
    """
    if draw not in get_args(DrawName):
        raise ConfigError(f"draw must be one of {', '.join(get_args(DrawName))}, got {draw!r}")
    if not 1 <= draw_every <= MAX_DRAW_EVERY:
        raise ConfigError(f"draw_every must be in [1, {MAX_DRAW_EVERY}], got {draw_every}")
    if replace and draw != "independent":
        raise ConfigError(f"draw {draw} keeps a neighbour once at most; leave out replace")
    return {"independent": 0, "shared": 1, "dependent": draw_every}[draw]


def set_source_keys(
    ctx: Context,
    topologies: Sequence[_kernels.Topology],
    parts_at_hand: Mapping[int, GraphPartition],
    to_original: Callable[[Ids], Ids],
) -> int:
    """Gives topologies what stands for each edge's source in keys; all ranks call this.

    Sources of other parts are known by their ids in the input, which are fetched once. Each rank
    computes the keys of its own part, 4 bytes an edge; ranks of its machine that read its part
    read its keys too.

    Args:
        ctx: the job.
        topologies: over the same parts and halo blocks.
        parts_at_hand: parts that can be read directly, this rank's among them.
        to_original: gives the ids in the input of any vertices.

    Returns:
        Bytes of this rank's keys.
    """
    own = parts_at_hand[ctx.rank]
    outer_ids = _outer_ids(own)
    outer_original_ids = _in_pieces(to_original, outer_ids)

    def write(indptr: Ids, indices: npt.NDArray[np.int64], keys: npt.NDArray[np.uint32]) -> None:
        _kernels.source_keys(
            *(indptr, indices, own.first_id, own.original_id, outer_ids, outer_original_ids),
            keys,
            ctx.threads,
        )

    # Known to each rank: of which ranks it reads the parts. They need not be the same ranks.
    readers = ctx.allgather_json(sorted(parts_at_hand))
    is_read = any(ctx.rank in parts for rank, parts in enumerate(readers) if rank != ctx.rank)
    path = None
    if is_read:
        path, keys = new_shared_array((own.num_edges,), np.uint32)
    else:
        keys = np.empty(own.num_edges, dtype=np.uint32)
    write(own.indptr, own.indices, keys)
    paths = ctx.allgather_json(None if path is None else str(path))
    for rank, part in parts_at_hand.items():
        if rank != ctx.rank:
            _set(topologies, rank, map_shared_array(paths[rank], (part.num_edges,), np.uint32))
    _set(topologies, ctx.rank, keys)
    num_bytes = keys.nbytes
    for number, block in enumerate(own.halo_topology, start=own.book.num_parts):
        of_block = np.empty(len(block.indices), dtype=np.uint32)
        write(block.indptr, block.indices, of_block)
        _set(topologies, number, of_block)
        num_bytes += of_block.nbytes
    ctx.barrier()
    if path is not None:
        os.unlink(path)  # the memory lives as long as somebody maps it
    return num_bytes


def set_source_keys_of_all(
    topology: _kernels.Topology, parts: Sequence[GraphPartition], num_threads: int = 1
) -> None:
    """Does the same in one process that holds all parts, in order."""
    original_id = np.concatenate([part.original_id for part in parts])
    nothing = np.zeros(0, dtype=np.int64)
    for number, part in enumerate(parts):
        keys = np.empty(part.num_edges, dtype=np.uint32)
        lists = (part.indptr, part.indices)
        _kernels.source_keys(*lists, 0, original_id, nothing, nothing, keys, num_threads)
        topology.set_source_keys(number, keys)


def _set(topologies: Sequence[_kernels.Topology], index: int, keys: npt.NDArray[np.uint32]) -> None:
    for topology in topologies:
        topology.set_source_keys(index, keys)


def _outer_ids(part: GraphPartition) -> Ids:
    """Sources of the edges at hand that the part does not own, ascending."""
    ids = np.asarray(part.halo, dtype=np.int64)
    blocks = [np.unique(block.indices) for block in part.halo_topology]
    if not blocks:
        return ids
    ids = np.unique(np.concatenate([ids, *blocks]))
    inner = (ids >= part.first_id) & (ids < part.first_id + part.num_vertices)
    return ids[~inner]


def _in_pieces(to_original: Callable[[Ids], Ids], ids: Ids) -> Ids:
    original = np.empty(len(ids), dtype=np.int64)
    for first in range(0, len(ids), _IDS_AT_ONCE):
        piece = slice(first, first + _IDS_AT_ONCE)
        original[piece] = to_original(ids[piece])
    return original
