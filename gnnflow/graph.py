"""The graph as one rank sees it: its own part, and the way to all others."""

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from gnnflow import _kernels
from gnnflow.array_types import Ids, Rows
from gnnflow.comm import Context
from gnnflow.edges import GraphEdges
from gnnflow.errors import ConfigError, DataError
from gnnflow.features import DistFeatureStore
from gnnflow.features.original_id_table import OriginalIdTable
from gnnflow.features.row_exchange import RowExchange
from gnnflow.features.rows_by_name import RowsByName
from gnnflow.features.wire import WireDtype
from gnnflow.partition import GraphPartition, Manifest, PartitionBook, open_partition, read_manifest
from gnnflow.partition.manifest import part_folder
from gnnflow.partition.stored_rows import INT8_SCALED, SCALE_BYTES
from gnnflow.sampling.dist_sampler import DistNeighborSampler
from gnnflow.sampling.draws import DrawName, set_source_keys, steps_of_a_key
from gnnflow.sampling.neighbor_service import (
    NeighborAnswers,
    default_budget_bytes,
    resident_indices,
)

_ORIGINAL_ID = "original_id"
_IN_DEGREE = "in_degree"
_NEIGHBORS = "neighbors"
_NEIGHBORS_AND_EDGES = "neighbors and edges"


class DistGraph:
    """A partitioned graph, open on all ranks of a job.

    Vertices are named by global ids: rank p owns `[offsets[p], offsets[p + 1])`.
    """

    def __init__(
        self,
        ctx: Context,
        partition: GraphPartition,
        path: Path,
        wire_dtype: WireDtype = "stored",
        topology_bytes: int | None = None,
    ) -> None:
        """Use `DistGraph.open`."""
        self.ctx = ctx
        """The job."""
        self.path = path
        """The partition folder."""
        self.partition = partition
        """This rank's part."""
        self.manifest: Manifest = partition.manifest
        """Facts about the whole partition."""
        self.book: PartitionBook = partition.book
        """Who owns which vertex."""
        self.wire_dtype: WireDtype = wire_dtype
        """How float32 rows of the partition travel between ranks."""
        self.topology = _kernels.Topology(self.book.offsets)
        """In-neighbours of all vertices that this rank can expand without asking."""
        self.splits: Mapping[str, Ids] = {
            name: np.asarray(ids) + partition.first_id for name, ids in partition.splits.items()
        }
        """Sorted global ids of this rank's seeds of each split."""
        by_default = default_budget_bytes(len(ctx.ranks_on_host))
        self._topology_budget_bytes = by_default if topology_bytes is None else topology_bytes
        self.topology_bytes = 0
        """Memory of this rank's neighbour lists, halo hops included; 0 where they are mapped."""
        self._scope = "" if ctx.service is None else ctx.service.new_scope()
        self._exchange = RowExchange(ctx, self._scope)
        self._arrays = RowsByName(ctx, self._exchange, self.book.offsets, wire_dtype)
        self.edges = GraphEdges(partition, self._exchange)
        """Attributes of the edges, by global edge id."""
        # This rank's part comes first: it is source 0 of every store.
        self._parts_at_hand = {ctx.rank: partition}
        self._has_source_keys = False
        self._further_bytes = 0  # of files that are no arrays of the partition
        self._original_id_table: OriginalIdTable | None = None

    @classmethod
    def open(
        cls,
        path: Path | str,
        ctx: Context,
        *,
        verify: bool = False,
        wire_dtype: WireDtype = "stored",
        topology_bytes: int | None = None,
    ) -> Self:
        """Opens this rank's part of a partition folder; all ranks do so together.

        Args:
            path: folder that `gnnflow-partition` wrote.
            ctx: the job; it needs as many ranks as there are parts.
            verify: check the hash of every file.
            wire_dtype: how float32 rows travel between ranks: `stored` sends them as they are,
                `bfloat16` half the bytes, `int8` (with a scale per row) a quarter, both with less
                precision. Rows that `serve` adds travel as they are.
            topology_bytes: memory for this rank's neighbour lists. Where they need more they stay
                mapped files. By default an eighth of the machine's memory, between its ranks.

        Raises:
            ConfigError: if the number of ranks is not the number of parts, there is no such wire
                type, or `topology_bytes` is negative.
            PartitionFormatError: if the folder is incomplete, damaged or of another version.
        """
        ctx.step = f"opening {path}"
        manifest = read_manifest(path)
        if manifest.num_parts != ctx.num_ranks:
            raise ConfigError(
                f"{path} has {manifest.num_parts} parts but the job has {ctx.num_ranks} ranks; "
                f"start {manifest.num_parts} ranks, or partition the graph again with "
                f"--num-parts {ctx.num_ranks}"
            )
        partition = open_partition(path, ctx.rank, verify=verify)
        graph = cls(ctx, partition, Path(path), wire_dtype, topology_bytes)
        graph._map_and_serve()
        ctx.barrier()
        return graph

    @property
    def part_id(self) -> int:
        """This rank's part."""
        return self.partition.part_id

    @property
    def partition_bytes(self) -> int:
        """Most memory that the parts at hand take: their files, and neighbour lists in memory."""
        mapped = sum(part.num_bytes for part in self._parts_at_hand.values())
        return mapped + self._further_bytes + self.topology_bytes

    @property
    def num_parts(self) -> int:
        """Number of parts, and of ranks."""
        return self.manifest.num_parts

    @property
    def num_vertices(self) -> int:
        """Vertices of the whole graph."""
        return self.manifest.num_vertices

    @property
    def num_edges(self) -> int:
        """Edges of the whole graph."""
        return self.manifest.num_edges

    @property
    def num_classes(self) -> int:
        """Numbers that a model gives for a vertex, as the labels `y` have it.

        The number of classes; of columns where labels are numbers to predict, so 1 for one number;
        0 without labels.
        """
        labels = self.manifest.arrays.get("y")
        if self.manifest.num_classes or labels is None:
            return self.manifest.num_classes
        return int(np.prod(labels.row_shape, dtype=np.int64))

    @property
    def num_features(self) -> int:
        """Numbers in a row of `x`.

        Raises:
            DataError: if the graph has no features.
        """
        row_shape = self.store("x").row_shape
        width = int(np.prod(row_shape, dtype=np.int64))
        return width - SCALE_BYTES if self.manifest.arrays["x"].dtype == INT8_SCALED else width

    @property
    def array_names(self) -> tuple[str, ...]:
        """Names of the per-vertex arrays of the partition, as `("x", "y")`."""
        return tuple(self.manifest.arrays)

    def store(self, name: str) -> DistFeatureStore:
        """Returns the rows of a per-vertex array, by global id.

        Besides the arrays of the partition there are `original_id` (int64) and `in_degree`
        (int64), and what `serve` added.

        Raises:
            DataError: if there is no such array.
        """
        if name == _IN_DEGREE and name not in self._arrays:
            parts = self._parts_at_hand.items()
            others = [(rank, np.diff(part.indptr)) for rank, part in parts if rank != self.part_id]
            self._arrays.add_derived(name, [(self.part_id, self._in_degrees), *others])
        if name not in self._arrays:
            known = ", ".join(sorted({*self._arrays.names(), _IN_DEGREE}))
            raise DataError(f"the graph has no array '{name}'; it has: {known}")
        return self._arrays.store(name)

    def exact_store(self, name: str) -> DistFeatureStore:
        """Returns the rows of an array of the partition, which travel as they are stored.

        Args:
            name: one of `array_names`.
        """
        rows = [(rank, part.arrays[name]) for rank, part in self._parts_at_hand.items()]
        return self._exchange.store(name, self.book.offsets, rows)

    def to_original(self, global_ids: Ids) -> Ids:
        """Returns the ids that vertices have in the input, int64 `[num_ids]`."""
        return self._arrays.store(_ORIGINAL_ID).fetch(global_ids)

    def to_global(self, original_ids: Ids) -> Ids:
        """Returns the global ids of ids of the input, int64 of the same shape.

        All ranks make the first call together, with any ids; it builds a table.

        Raises:
            DataError: if an id is not of the graph.
        """
        if self._original_id_table is None:
            self._original_id_table = OriginalIdTable(
                self.ctx,
                self._exchange,
                self.partition.original_id,
                self.book.offsets,
                self._arrays.store(_ORIGINAL_ID),
            )
        return self._original_id_table.to_global(original_ids)

    def num_seeds(self, split: str) -> tuple[int, ...]:
        """Returns how many seeds of a split each rank owns.

        Raises:
            PartitionFormatError: if there is no such split.
        """
        return self.manifest.num_seeds(split)

    def sampler(
        self,
        *,
        seed: int = 0,
        num_threads: int | None = None,
        replace: bool = False,
        with_edge_ids: bool = False,
        global_edge_ids: bool = False,
        draw: DrawName = "independent",
        draw_every: int = 1,
        weight_attr: str | None = None,
    ) -> DistNeighborSampler:
        """Makes a sampler over the whole graph, for one thread at a time.

        Args:
            seed: first number of the key from which every draw follows.
            num_threads: threads of the kernel; those of the context by default.
            replace: whether a neighbour may be drawn several times.
            with_edge_ids: whether to return edge ids, by default the input edge numbers.
            global_edge_ids: return global edge ids instead, as `edges` takes them.
            draw: which neighbours are kept, as in `gnnflow.sampling.draws`; all ranks make the
                first sampler that draws by key together.
            draw_every: steps for which a source keeps its key with `dependent`.
            weight_attr: name of the edge weights that neighbours are drawn by.

        Raises:
            ConfigError: if there is no such draw, or it is by key and `replace` is set.
            DataError: if edge ids or weights are asked for and the partition has none.
        """
        every = steps_of_a_key(draw, draw_every, replace)
        self.manifest.check_weights(weight_attr)
        if with_edge_ids or global_edge_ids:
            self.edges.check_ids()
        if global_edge_ids:
            self.edges.number_halo()
        if every and not self._has_source_keys:
            self._set_source_keys()
        return DistNeighborSampler(
            self.edges.topology if global_edge_ids else self.topology,
            all_parts_here=len(self._parts_at_hand) == self.num_parts,
            seed=seed,
            num_threads=self.ctx.threads if num_threads is None else num_threads,
            replace=replace,
            with_edge_ids=with_edge_ids or global_edge_ids,
            every=every,
            weighted=weight_attr is not None,
            service=self.ctx.service,
            service_name=self._scope + (_NEIGHBORS_AND_EDGES if global_edge_ids else _NEIGHBORS),
        )

    def serve(self, name: str, rows: npt.NDArray[Any]) -> DistFeatureStore:
        """Makes rows that were computed at run time available to all ranks; all ranks call it.

        Args:
            name: a name that no array has.
            rows: `[num_inner_vertices, ...]`, contiguous, the same row shape and dtype on all
                ranks. They may change between fetches of others, and are not copied.

        Returns:
            The rows of all ranks by global id; also `store(name)` until `unserve(name)`.

        Raises:
            DataError: if the name is taken, or rows are not one for each inner vertex, or differ
                between ranks in shape or dtype.
        """
        return self._arrays.add_computed(name, rows, taken=name == _IN_DEGREE)

    def unserve(self, name: str) -> None:
        """Ends what `serve` began, once all ranks have called it; the rows may then be freed.

        Raises:
            DataError: if `serve` did not add that name.
        """
        self._arrays.withdraw(name)

    def serve_files(
        self, name: str, rows_of: Callable[[GraphPartition], Rows], *, wire_pieces: int = 1
    ) -> DistFeatureStore:
        """Makes rows of a further file of each part available to all ranks; all ranks call it.

        Args:
            name: a name that no array has.
            rows_of: maps the rows of a part, `[num_vertices, ...]`, contiguous; called for every
                part that can be read here.
            wire_pieces: into how many pieces a row is cut on the way, each with a scale of its own.

        Returns:
            The rows of all ranks by global id, also `store(name)` from now on.
        """
        rows = {rank: rows_of(part) for rank, part in self._parts_at_hand.items()}
        self._further_bytes += sum(each.nbytes for each in rows.values())
        store = self._arrays.add_files(name, rows, rows.__getitem__, wire_pieces=wire_pieces)
        self.ctx.barrier()  # nobody asks before all answer
        return store

    def _map_and_serve(self) -> None:
        """Maps the parts on this machine and answers the other ranks' questions."""
        for rank in range(self.num_parts):
            folder = self.path / part_folder(rank)
            if self.ctx.transport_to(rank) == "shared" and folder.is_dir():
                # Its own rank looks at what it holds.
                self._parts_at_hand[rank] = open_partition(self.path, rank, contents=False)
        indices: dict[int, npt.NDArray[Any]] = {}
        for rank, part in self._parts_at_hand.items():
            # Files of other parts are shared with the ranks that own them; a copy would not be.
            own = rank == self.part_id
            indices[rank] = self._resident(part.indices) if own else part.indices
            lists = (part.indptr, indices[rank], part.original_id, part.edge_id)
            self.topology.set_part(rank, *lists, weight=part.edge_weight)
        blocks = self.partition.halo_topology
        halo = [each._replace(indices=self._resident(each.indices)) for each in blocks]
        for block in halo:
            self.topology.add_halo(*block)
        self._serve_neighbors(_NEIGHBORS, self.topology)
        for name in (*self.array_names, _ORIGINAL_ID):
            self._arrays.add_files(name, self._parts_at_hand, partial(self._rows_at_hand, name))
        self._exchange.serve(_IN_DEGREE, lambda: self._in_degrees)
        if self.partition.edge_attr is not None:
            self._serve_neighbors(_NEIGHBORS_AND_EDGES, self.edges.topology)
            self.edges.open(
                self._parts_at_hand,
                indices,
                halo,
                wire_dtype=self.wire_dtype,
                transport=self.ctx.transport,
            )

    def _serve_neighbors(self, name: str, topology: _kernels.Topology) -> None:
        service = self.ctx.service
        if service is not None:
            id_dtype = np.int32 if self.num_vertices < 1 << 31 else np.int64
            answers = NeighborAnswers(topology, self.ctx.threads, id_dtype)
            service.serve_arrays(self._scope + name, answers)

    def _set_source_keys(self) -> None:
        topologies = [self.topology]
        if self.partition.edge_attr is not None:
            self.edges.number_halo()  # before keys are set: it adds the halo blocks
            topologies.append(self.edges.topology)
        self.topology_bytes += set_source_keys(
            self.ctx, topologies, self._parts_at_hand, self.to_original
        )
        self._has_source_keys = True

    def _resident(self, indices: npt.NDArray[Any]) -> npt.NDArray[Any]:
        left = self._topology_budget_bytes - self.topology_bytes
        resident = resident_indices(indices, self.num_vertices, left)
        if resident is not indices:
            self.topology_bytes += resident.nbytes
        return resident

    @cached_property
    def _in_degrees(self) -> Ids:
        return np.diff(self.partition.indptr)

    def _rows_at_hand(self, name: str, rank: int) -> Rows:
        part = self._parts_at_hand[rank]
        return part.original_id if name == _ORIGINAL_ID else part.arrays[name]
