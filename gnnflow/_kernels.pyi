"""Types of the compiled kernels; kernels/ holds the C++ sources.

Arrays are numpy arrays. Ids are int64. All kernels release the GIL and give the same result for
any number of threads. Bad values raise `ValueError` with the value, the limit and the remedy.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.array_types import Ids, Keys, Slots

_Indices = NDArray[np.int64] | NDArray[np.int32]
_Matrix = NDArray[np.float32] | NDArray[np.float64]

class Topology:
    """In-neighbours of the vertices of some parts, by global id.

    Arrays given to it are borrowed (also memory-mapped, read-only ones) and kept alive.
    """

    def __init__(self, offsets: Ids) -> None:
        """Takes the first global id of every part, then the number of vertices."""

    @property
    def num_parts(self) -> int: ...
    @property
    def num_vertices(self) -> int: ...
    def set_part(
        self,
        part: int,
        indptr: Ids,
        indices: _Indices,
        original_id: Ids | None = None,
        edge_id: Ids | None = None,
        first_edge: int = -1,
        weight: NDArray[np.float32] | None = None,
    ) -> None:
        """Sets one part; without `original_id` its global ids are the original ids.

        Without `edge_id` its edges are numbered from `first_edge` on, if that is not negative.
        Draws by weight need a `weight` for each edge.
        """

    def set_halo(
        self,
        vertex_ids: Ids,
        indptr: Ids,
        indices: _Indices,
        original_id: Ids,
        edge_id: Ids | None = None,
        weight: NDArray[np.float32] | None = None,
    ) -> None:
        """Replaces all halo blocks by one: the adjacency of sorted vertices of other parts."""

    def add_halo(
        self,
        vertex_ids: Ids,
        indptr: Ids,
        indices: _Indices,
        original_id: Ids,
        edge_id: Ids | None = None,
        weight: NDArray[np.float32] | None = None,
    ) -> None:
        """Adds a further halo block."""

    def set_source_keys(self, index: int, source_keys: NDArray[np.uint32]) -> None:
        """Sets what draws by key need, for a part or for `num_parts` + a halo block."""

    def is_local(self, ids: Ids) -> NDArray[np.bool_]:
        """Tells which global ids can be expanded here: inner vertices and halo blocks."""

class SampledArrays:
    """The arrays of one sampled subgraph; see `gnnflow.sampling.SampledSubgraph`."""

    @property
    def vertices(self) -> Ids: ...
    @property
    def indptr(self) -> Ids: ...
    @property
    def src(self) -> Ids: ...
    @property
    def edge_ids(self) -> Ids | None: ...
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
    def sample(
        self,
        seeds: Ids,
        fanouts: Sequence[int],
        seed: int,
        epoch: int,
        minibatch: int,
        replace: bool = False,
        with_edge_ids: bool = False,
        every: int = 0,
        weighted: bool = False,
    ) -> SampledArrays:
        """Samples all hops; raises if a frontier vertex is not in the topology.

        With `every` neighbours are drawn by keys that sources renew every so many steps, and
        `minibatch` is the step; whatever `epoch` is. `weighted` draws by the weights of the edges,
        unless all are kept.
        """

    def start(self, seeds: Ids, seed: int, epoch: int, minibatch: int) -> None:
        """Begins a minibatch from unique global seed ids."""

    def expand(
        self,
        fanout: int,
        replace: bool = False,
        with_edge_ids: bool = False,
        every: int = 0,
        weighted: bool = False,
    ) -> tuple[Ids, Ids]:
        """Samples the frontier vertices that are here; -1 keeps all neighbours.

        Returns the others, by owner and then in frontier order, and how many each owner has. If
        there are none the hop is complete and `merge` need not be called.
        """

    def merge(self, counts: Ids, neighbors: Ids, edge_ids: Ids | None = None) -> None:
        """Adds what the owners answered, in the order of the ids that `expand` returned."""

    def finish(self) -> SampledArrays:
        """Ends the minibatch and hands over its arrays."""

def sample_neighbors(
    topology: Topology,
    ids: Ids,
    minibatch_numbers: Ids,
    segment_sizes: Ids,
    fanout: int,
    hop: int,
    seed: int,
    epochs: int | Ids,
    replace: bool = False,
    with_edge_ids: bool = False,
    num_threads: int = 1,
    every: int = 0,
    weighted: bool = False,
) -> tuple[Ids, Ids, Ids | None]:
    """Answers other ranks: samples one hop for several minibatches, a segment of `ids` each.

    Returns counts `[num_ids]`, neighbours and edge ids `[counts.sum()]` in the order of `ids`.
    """

def source_keys(
    indptr: Ids,
    indices: _Indices,
    first_id: int,
    original_id: Ids,
    outer_ids: Ids,
    outer_original_id: Ids,
    keys: NDArray[np.uint32],
    num_threads: int = 1,
) -> None:
    """Writes what stands for the source of each entry in draws by key.

    The ids in the input are `original_id` for the vertices from `first_id` on, and
    `outer_original_id` for `outer_ids`, which ascend; raises if a source is in neither.
    """

def edge_index(indptr: Ids, src: Ids, num_threads: int = 1) -> Ids:
    """Returns the edges of a CSR by destination as PyG takes them: `[2, num_edges]`."""

def transpose_csr(
    indptr: Ids, src: Ids, num_sources: int, num_threads: int = 1
) -> tuple[Ids, Ids, Ids]:
    """Turns a CSR by destination into one by source, for the gradient of an aggregation.

    Returns its indptr `[num_sources + 1]`, the destination of every entry and the edge (position in
    `src`) it stands for, both `[num_edges]`; the entries of a source come in order of the edges.
    """

def spmm(
    out: _Matrix,
    indptr: Ids,
    src: Ids,
    x: _Matrix,
    mean: bool = False,
    num_threads: int = 1,
) -> None:
    """Writes to `out[i]` the sum, or mean, of `x[src[e]]` over the edges `e` of destination `i`.

    A destination without edges gets zeros. `out` `[num_destinations, dim]` and `x`
    `[num_sources, dim]` are contiguous, float32 or float64.
    """

def spmm_backward(
    out: _Matrix,
    transposed_indptr: Ids,
    transposed_dst: Ids,
    grad: _Matrix,
    mean_indptr: Ids | None = None,
    num_threads: int = 1,
) -> None:
    """Writes the gradient of `spmm` with respect to `x` to `out` `[num_sources, dim]`.

    Takes what `transpose_csr` returned and the gradient of the result `[num_destinations, dim]`.
    For the mean, `mean_indptr` is the indptr of the aggregation itself.
    """

def gather(out: NDArray[Any], source: NDArray[Any], rows: Ids, num_threads: int = 1) -> None:
    """Copies `source[rows]` to `out`; both contiguous, rows of the same number of bytes."""

def gather_rows(
    out: NDArray[Any],
    sources: Sequence[NDArray[Any]],
    source_of: NDArray[np.uint8],
    row_of: Ids,
    num_threads: int = 1,
) -> None:
    """Copies row `row_of[i]` of `sources[source_of[i]]` to row `i` of `out`, in one pass."""

def gather_ids(
    out: NDArray[Any],
    sources: Sequence[NDArray[Any]],
    source_of_part: NDArray[np.uint8],
    offsets: Ids,
    ids: Ids,
    num_threads: int = 1,
) -> list[int]:
    """Copies the row of global id `ids[i]` to row `i` of `out`; every part's rows are at hand.

    Returns:
        How many rows each source gave.
    """

_Priorities = NDArray[np.uint32]

class CacheIndex:
    """Which remote vertex sits in which slot, and what the slots are worth.

    A vertex gets a key, a small number that stays while the vertex is known, so that state by
    vertex can be an array by key. Larger priorities stay. On equal priorities a cached row stays
    before an arrived one, an earlier arrived one before a later one.
    """

    def __init__(self, capacity: int, num_vertices: int = 0) -> None:
        """With the number of vertices of a graph that is not too large, ids are found faster."""

    @property
    def capacity(self) -> int: ...
    @property
    def num_cached(self) -> int: ...
    @property
    def num_keys(self) -> int:
        """One more than the largest key: the length of arrays by key."""

    @property
    def num_known(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...
    def known(self, ids: Ids) -> tuple[Keys, NDArray[np.int32]]:
        """Returns the key of each id, and the positions of those that had none until now."""

    def look_up(self, ids: Ids, minibatch: int) -> tuple[Keys, Slots, NDArray[np.int32]]:
        """Returns key and slot of each id (-1: not cached) and the positions of new vertices.

        Ids of a minibatch must be unique and minibatch numbers must grow.
        """

    def find_slots(self, ids: Ids) -> Slots:
        """Returns the slot of each id, or -1, and changes nothing."""

    def assign(self, slots: Slots, keys: Keys, priorities: _Priorities) -> int:
        """Puts vertices into given slots, used ones or the next free ones; returns evictions."""

    def slots_of(self, keys: Keys) -> Slots: ...
    def ids_of(self, keys: Keys) -> Ids: ...
    def cached_keys(self) -> Keys:
        """Returns the key in each used slot."""

    def cached_ids(self) -> Ids:
        """Returns the global id in each used slot."""

    def last_uses(self) -> NDArray[np.int32]:
        """Returns the last minibatch that asked for the row of each used slot, or -1."""

    def uncached_keys(self) -> Keys:
        """Returns the keys of known vertices that are not cached."""

    def forget(self, keys: Keys) -> None:
        """Forgets vertices that are not cached; their keys are given out again."""

    def __deepcopy__(self, memo: dict[int, Any]) -> CacheIndex: ...

class CacheBooks(CacheIndex):
    """All decisions of a cache that keeps the best of cached and arrived rows.

    An order gives every vertex a priority below `2**31`. With `looks_ahead`, vertices that an
    announced minibatch `m` asks for next have priority `2**32 - 1 - m`, above all others.
    """

    @staticmethod
    def by_last_use(capacity: int, num_vertices: int, looks_ahead: bool) -> CacheBooks:
        """Orders by the minibatch of the last use, counted from 1."""

    @staticmethod
    def by_value(
        capacity: int,
        num_vertices: int,
        looks_ahead: bool,
        ids: Ids,
        values: NDArray[np.float32],
    ) -> CacheBooks:
        """Orders by given values that are not negative; a vertex that is not listed has 0."""

    @staticmethod
    def by_count(
        capacity: int,
        num_vertices: int,
        looks_ahead: bool,
        factor: float,
        ids: Ids,
        probabilities: NDArray[np.float32],
    ) -> CacheBooks:
        """Orders by the number of uses, each multiplied by a factor for every minibatch since."""

    def fill(self, ids: Ids) -> None:
        """Puts vertices that are not cached into the next free slots."""

    def announce(self, ids: Ids) -> None:
        """Tells what the minibatch after those announced will ask for."""

    def retract(self) -> None:
        """Forgets all announced minibatches."""

    def plan(
        self, ids: Ids, announced: Ids | None, minibatch: int, fraction: float
    ) -> tuple[Slots, Ids, NDArray[np.int32], Slots, int] | None:
        """Looks up a minibatch and keeps the best of cached and arrived rows.

        With `looks_ahead` it has to be the oldest announced one; if `announced` is given and holds
        other ids, nothing is done and None returned. Of the evictions that the exchange takes only
        a fraction, the worst rows, is done.

        Returns the slot of each id (-1: not cached), the ids that are not cached, which of these
        are admitted and their slots, and the number of evictions.
        """

    def priorities(self, keys: Keys) -> _Priorities: ...
    def forget_idle(self) -> None:
        """Forgets vertices neither cached nor announced, as far as the order can spare them."""

    def num_known_to_return(self) -> int:
        """Counts rows whose next use after the oldest announced minibatch is known.

        Counted are the rows at hand then: the cached ones and those that this minibatch asks for.
        """

    @property
    def looks_ahead(self) -> bool: ...
    @property
    def num_announced(self) -> int:
        """Minibatches announced and not planned."""

    @property
    def num_announced_rows(self) -> int:
        """Rows that they ask for, with repetition."""

    @property
    def num_distinct_announced_rows(self) -> int:
        """The same without repetition."""

    @property
    def num_front_rows(self) -> int:
        """Rows that the oldest of them asks for."""

    def __deepcopy__(self, memo: dict[int, Any]) -> CacheBooks: ...

def pick_worst(
    cached: _Priorities, arrived: _Priorities, num_drops: int
) -> tuple[Slots, NDArray[np.int32]]:
    """Picks the rows with the lowest priorities out of two groups, without sorting.

    On a tie the arrived row goes first, of those the later one; of cached ones the lower slot.
    Returns the positions of cached rows to drop and of arrived rows to keep, ascending.
    """

def copy_rows(
    out: NDArray[Any],
    out_rows: NDArray[np.int32],
    source: NDArray[Any],
    source_rows: NDArray[np.int32],
) -> None:
    """Copies `source[source_rows]` to `out[out_rows]`; rows are bytes of any dtype."""

def plan_rows(
    ids: Ids, offsets: Ids, source_of_part: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], Ids, Ids, Ids, Ids]:
    """Tells where the row of each global id comes from.

    Source 255 stands for parts whose rows are elsewhere. Returns the source and the row within the
    owner's part for each id, then positions and rows of those that are elsewhere, by owner and in
    the order of the ids, and how many each part owns of those.
    """

def copy_planned_rows(
    out: NDArray[Any],
    sources: Sequence[NDArray[Any]],
    source_of: NDArray[np.uint8],
    row_of: Ids,
    num_threads: int = 1,
) -> None:
    """Does as `gather_rows`, but leaves the rows of `out` alone whose source is 255."""

def place_rows(
    out: NDArray[Any], positions: Ids, source: NDArray[Any], num_threads: int = 1
) -> None:
    """Copies row `i` of `source` to row `positions[i]` of `out`."""

# Partitioning: neighbour lists by counting sort, and the streaming partitioner.

def count_ids(ids: _Indices, new_id: _Indices | None, counts: Ids) -> None:
    """Adds one to `counts[new_id[id]]` for every id, or to `counts[id]` without `new_id`."""

def scatter_edges(
    keys: _Indices,
    values: _Indices,
    new_id: _Indices | None,
    cursor: Ids,
    entries: _Indices,
    edge_ids: Ids | None,
    first_edge: int,
) -> None:
    """Puts every value at the end of its key's list, `cursor[key]`, which moves on by one.

    Both are renumbered by `new_id` first. `edge_ids` gets `first_edge` and so on.
    """

def count_both_ends(sources: _Indices, destinations: _Indices, counts: Ids) -> None:
    """Adds one to `counts` of both ends of every edge that is no self loop."""

def scatter_both_ends(
    sources: _Indices, destinations: _Indices, cursor: Ids, entries: _Indices
) -> None:
    """Puts each end of every edge that is no self loop into the list of the other end."""

def sort_lists(indptr: Ids, entries: _Indices, edge_ids: Ids | None, num_threads: int = 1) -> Ids:
    """Sorts each list in place and drops repeats; returns how many entries each has left.

    Of equal entries the edge id of the first is kept.
    """

def pack_lists(
    indptr: Ids, entries: _Indices, out_indptr: Ids, out: _Indices, num_threads: int = 1
) -> None:
    """Copies the first entries of each list, as many as `out_indptr` has room for, to `out`."""

def induce_lists(
    indptr: Ids, entries: _Indices, vertices: _Indices, new_id: _Indices
) -> tuple[Ids, _Indices]:
    """Returns the lists of some vertices with only those entries whose `new_id` is not negative."""

def ldg_pass(
    indptr: Ids,
    neighbors: _Indices,
    weights: NDArray[np.int32],
    order: _Indices,
    capacity: NDArray[np.float64],
    part: NDArray[np.int32],
    load: Ids,
) -> int:
    """Moves every vertex, in the given order, to the part with most neighbours and room.

    `part` holds -1 for vertices not placed yet; `load` `[num_parts * num_constraints]` is what the
    parts hold of each constraint. Both are updated. Returns how many vertices changed their part.
    """

def metis_lines(indptr: Ids, neighbors: _Indices, weights: Ids, first: int, last: int) -> bytes:
    """Returns vertices `first` to `last - 1` in METIS's text format: weight, then neighbours."""

def rebalance_pass(
    indptr: Ids,
    neighbors: _Indices,
    weights: NDArray[np.int32],
    order: _Indices,
    capacity: NDArray[np.float64],
    max_loss: int,
    part: NDArray[np.int32],
    load: Ids,
) -> int:
    """Moves vertices out of parts above their capacity, as `ldg_pass` otherwise.

    A move must make the sum of squared excesses smaller and lose at most `max_loss` neighbours in
    the vertex's own part. Returns how many vertices moved.
    """

def encode_rows(
    out: NDArray[np.uint8],
    source: NDArray[np.float32],
    rows: Ids,
    format: int,
    num_threads: int = 1,
) -> None:
    """Converts rows of `source` `[num_rows, width]` for the wire, into rows of `out`.

    Format 1 is bfloat16, `2 * width` bytes; format 2 is a float32 scale and int8 values,
    `4 + width` bytes.
    """

def decode_rows(
    out: NDArray[np.float32],
    positions: Ids,
    source: NDArray[np.uint8],
    format: int,
    num_threads: int = 1,
) -> None:
    """Converts row `i` from the wire to float32, into row `positions[i]` of `out`."""
