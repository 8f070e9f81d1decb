"""Types of the compiled kernels; kernels/ holds the C++ sources.

Arrays are numpy arrays. Ids are int64. All kernels release the GIL and give the same result for
any number of threads. Bad values raise `ValueError` with the value, the limit and the remedy.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Ids = NDArray[np.int64]
_Indices = NDArray[np.int64] | NDArray[np.int32]

class Topology:
    """In-neighbours of the vertices of some parts, by global id.

    Arrays given to it are borrowed (also memory-mapped, read-only ones) and kept alive.
    """

    def __init__(self, offsets: _Ids) -> None:
        """Takes the first global id of every part, then the number of vertices."""

    @property
    def num_parts(self) -> int: ...
    @property
    def num_vertices(self) -> int: ...
    def set_part(
        self,
        part: int,
        indptr: _Ids,
        indices: _Indices,
        original_id: _Ids | None = None,
        edge_id: _Ids | None = None,
    ) -> None:
        """Sets the arrays of one part; without `original_id` the global ids are the original ones."""

    def set_halo(
        self,
        vertex_ids: _Ids,
        indptr: _Ids,
        indices: _Indices,
        original_id: _Ids,
        edge_id: _Ids | None = None,
    ) -> None:
        """Replaces all halo blocks by one: the adjacency of sorted vertices of other parts."""

    def add_halo(
        self,
        vertex_ids: _Ids,
        indptr: _Ids,
        indices: _Indices,
        original_id: _Ids,
        edge_id: _Ids | None = None,
    ) -> None:
        """Adds a further halo block."""

    def is_local(self, ids: _Ids) -> NDArray[np.bool_]:
        """Tells which global ids can be expanded here: inner vertices and halo blocks."""

class SampledArrays:
    """The arrays of one sampled subgraph; see `gnnflow.sampling.SampledSubgraph`."""

    @property
    def vertices(self) -> _Ids: ...
    @property
    def indptr(self) -> _Ids: ...
    @property
    def src(self) -> _Ids: ...
    @property
    def edge_ids(self) -> _Ids | None: ...
    @property
    def num_sampled_vertices(self) -> list[int]: ...
    @property
    def num_sampled_edges(self) -> list[int]: ...
    @property
    def num_seeds(self) -> int: ...

class NeighborSampler:
    """Samples minibatches over a topology; holds buffers that calls reuse, so one thread at a time.

    Either `sample` in one call, or `start`, then per hop `expand` and `merge`, then `finish`.
    """

    def __init__(self, topology: Topology, num_threads: int = 1) -> None: ...
    @property
    def num_threads(self) -> int: ...
    def sample(
        self,
        seeds: _Ids,
        fanouts: Sequence[int],
        seed: int,
        epoch: int,
        minibatch: int,
        replace: bool = False,
        with_edge_ids: bool = False,
    ) -> SampledArrays:
        """Samples all hops; raises if a frontier vertex is not in the topology."""

    def start(self, seeds: _Ids, seed: int, epoch: int, minibatch: int) -> None:
        """Begins a minibatch from unique global seed ids."""

    def expand(
        self, fanout: int, replace: bool = False, with_edge_ids: bool = False
    ) -> tuple[_Ids, _Ids]:
        """Samples the frontier vertices that are here; -1 keeps all neighbours.

        Returns the others, by owner and then in frontier order, and how many each owner has. If
        there are none the hop is complete and `merge` need not be called.
        """

    def merge(self, counts: _Ids, neighbors: _Ids, edge_ids: _Ids | None = None) -> None:
        """Adds what the owners answered, in the order of the ids that `expand` returned."""

    def finish(self) -> SampledArrays:
        """Ends the minibatch and hands over its arrays."""

def sample_neighbors(
    topology: Topology,
    ids: _Ids,
    minibatch_numbers: _Ids,
    segment_sizes: _Ids,
    fanout: int,
    hop: int,
    seed: int,
    epochs: int | _Ids,
    replace: bool = False,
    with_edge_ids: bool = False,
    num_threads: int = 1,
) -> tuple[_Ids, _Ids, _Ids | None]:
    """Answers other ranks: samples one hop for several minibatches, a segment of `ids` each.

    Returns counts `[num_ids]`, neighbours and edge ids `[counts.sum()]` in the order of `ids`.
    """

def gather(out: NDArray[Any], source: NDArray[Any], rows: _Ids, num_threads: int = 1) -> None:
    """Copies `source[rows]` to `out`; both contiguous, rows of the same number of bytes."""

def gather_rows(
    out: NDArray[Any],
    sources: Sequence[NDArray[Any]],
    source_of: NDArray[np.uint8],
    row_of: _Ids,
    num_threads: int = 1,
) -> None:
    """Copies row `row_of[i]` of `sources[source_of[i]]` to row `i` of `out`, in one pass."""
