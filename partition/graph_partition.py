"""One part of a graph, memory-mapped from its folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gnnflow.array_types import IntArray
from gnnflow.errors import PartitionFormatError
from gnnflow.partition.book import PartitionBook
from gnnflow.partition.checked_parts import check_part
from gnnflow.partition.held_out_edges import HELD_OUT
from gnnflow.partition.manifest import EDGE_WEIGHT, Manifest, part_folder
from gnnflow.partition.reader import PartReader, read_manifest


class HaloTopology(NamedTuple):
    """In-neighbour lists of vertices beyond the inner ones, all hops merged."""

    vertex_ids: IntArray
    """int64 `[n]`, global, ascending."""
    indptr: IntArray
    """int64 `[n + 1]`."""
    indices: IntArray
    """int64 `[e]`, global ids of in-neighbours in input edge order."""
    original_id: IntArray
    """int64 `[n]`."""
    edge_id: IntArray | None
    """int64 `[e]`, or None if the partition keeps no edge ids."""
    edge_weight: npt.NDArray[np.float32] | None = None
    """float32 `[e]`, or None if the partition keeps no edge weights."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphPartition:
    """The files of one part, mapped read-only; nothing is read before it is used."""

    part_id: int
    """Which part this is."""
    folder: Path
    """Where its files are."""
    book: PartitionBook
    """Who owns which global id."""
    manifest: Manifest
    """Facts about the whole partition."""
    indptr: IntArray
    """int64 `[num_vertices + 1]`: in-edges of local vertex v are `indptr[v]:indptr[v + 1]`."""
    indices: IntArray
    """int64 `[num_edges]`: global ids of the in-neighbours, in input edge order."""
    original_id: IntArray
    """int64 `[num_vertices]`, ascending."""
    halo: IntArray
    """int64 `[num_halo]`: global ids of neighbours that other parts own, ascending."""
    halo_owner: npt.NDArray[np.int32]
    """int32 `[num_halo]`: the part that owns each."""
    halo_degree: IntArray
    """int64 `[num_halo]`: in-degree of each in the whole graph."""
    edge_id: IntArray | None
    """int64 `[num_edges]`: position of each edge in the input, if the edges have attributes."""
    edge_attr: npt.NDArray[Any] | None
    """`[num_edges, ...]`: attributes of the edges, if they have any."""
    edge_weight: npt.NDArray[np.float32] | None
    """float32 `[num_edges]`: weights that neighbours may be drawn by, if the edges have any."""
    held_out_edges: dict[str, IntArray]
    """`val` and `test`, if edges were kept out of the topology: int64 `[2, n]`, global ids of the
    sources and of the destinations, which this part owns, in input order."""
    arrays: dict[str, npt.NDArray[Any]]
    """Rows of the inner vertices: `x`, `y` and any further ones, as the files hold them."""
    splits: dict[str, IntArray]
    """Local ids of the seeds of each split, ascending."""
    halo_topology: list[HaloTopology]
    """One entry if topology beyond the inner vertices was stored, else empty."""

    @property
    def num_vertices(self) -> int:
        """Number of inner vertices."""
        return len(self.original_id)

    @property
    def num_edges(self) -> int:
        """Number of in-edges of the inner vertices."""
        return len(self.indices)

    @property
    def num_bytes(self) -> int:
        """Size of the mapped files: what of them is in memory depends on what is used."""
        halo_arrays = [array for hop in self.halo_topology for array in hop]
        arrays = (
            *(self.indptr, self.indices, self.original_id, self.edge_id, self.edge_attr),
            *(self.edge_weight, self.halo, self.halo_owner, self.halo_degree),
            *self.arrays.values(),
            *self.splits.values(),
            *self.held_out_edges.values(),
            *halo_arrays,
        )
        return sum(array.nbytes for array in arrays if array is not None)

    @property
    def first_id(self) -> int:
        """Global id of local vertex 0."""
        return int(self.book.offsets[self.part_id])


def open_partition(
    root: Path | str, part_id: int, *, verify: bool = False, contents: bool = True
) -> GraphPartition:
    """Maps one part of a partition folder.

    Sizes, types, shapes, ends and a fingerprint of every file are always checked, at a cost
    that does not grow with the graph. What the arrays hold is checked once, seconds for 100
    million edges: the part's folder remembers it, if it can be written to. Features that are no
    finite numbers are warned of.

    Args:
        root: The folder that `gnnflow-partition` wrote.
        part_id: Which part, from 0.
        verify: Hash every file of the part, and check all contents in any case.
        contents: Check what the arrays hold; whoever opens parts of others leaves it to them.

    Raises:
        PartitionFormatError: If a file is missing, damaged or of another partition, or holds a
            number that something would be looked up with and that is wrong.
    """
    manifest = read_manifest(root)
    reader = PartReader(root, manifest, part_id, verify=verify)
    partition = GraphPartition(
        part_id=part_id,
        folder=Path(root) / part_folder(part_id),
        book=manifest.book,
        manifest=manifest,
        indptr=reader.open("indptr", "int64"),
        indices=reader.open("indices", "int64"),
        original_id=reader.open("original_id", "int64"),
        halo=reader.open("halo", "int64"),
        halo_owner=reader.open("halo_owner", "int32"),
        halo_degree=reader.open("halo_degree", "int64"),
        edge_id=reader.open("edge_id", "int64") if reader.has("edge_id") else None,
        edge_attr=reader.open("edge_attr") if reader.has("edge_attr") else None,
        edge_weight=_open_weights(reader, manifest, EDGE_WEIGHT),
        held_out_edges={
            name: reader.open(f"{name}_edges", "int64")
            for name in HELD_OUT
            if reader.has(f"{name}_edges")
        },
        arrays={name: reader.open(name, spec.npy_dtype) for name, spec in manifest.arrays.items()},
        splits={name: reader.open(name, "int64") for name in manifest.splits},
        halo_topology=_open_halo_topology(reader, manifest) if manifest.halo_hops else [],
    )
    _check_sizes(partition)
    _check_ends(partition)
    if contents or verify:
        check_part(partition, thorough=verify)
    return partition


def _open_weights(
    reader: PartReader, manifest: Manifest, name: str
) -> npt.NDArray[np.float32] | None:
    return reader.open(name, "float32") if manifest.edge_weights else None


def _open_halo_topology(reader: PartReader, manifest: Manifest) -> list[HaloTopology]:
    has_edge_ids = reader.has("halo_topology_edge_id")
    return [
        HaloTopology(
            vertex_ids=reader.open("halo_topology_vertices", "int64"),
            indptr=reader.open("halo_topology_indptr", "int64"),
            indices=reader.open("halo_topology_indices", "int64"),
            original_id=reader.open("halo_topology_original_id", "int64"),
            edge_id=reader.open("halo_topology_edge_id", "int64") if has_edge_ids else None,
            edge_weight=_open_weights(reader, manifest, f"halo_topology_{EDGE_WEIGHT}"),
        )
    ]


def _require(holds: bool, partition: GraphPartition, file: str, what: str) -> None:
    if not holds:
        raise PartitionFormatError(
            f"{partition.folder / file}.npy: {what}; the partition is damaged: "
            "run gnnflow-partition again"
        )


def _check_sizes(partition: GraphPartition) -> None:
    part = partition.manifest.parts[partition.part_id]
    expected_rows: dict[str, tuple[npt.NDArray[Any], int]] = {
        "indptr": (partition.indptr, part.num_vertices + 1),
        "indices": (partition.indices, part.num_edges),
        "original_id": (partition.original_id, part.num_vertices),
        "halo": (partition.halo, part.num_halo),
        "halo_owner": (partition.halo_owner, part.num_halo),
        "halo_degree": (partition.halo_degree, part.num_halo),
    }
    expected_rows |= {name: (ids, part.num_seeds[name]) for name, ids in partition.splits.items()}
    for name, (array, num_rows) in expected_rows.items():
        expected = f"expected shape [{num_rows}], found {list(array.shape)}"
        _require(array.shape == (num_rows,), partition, name, expected)
    for name, array in partition.arrays.items():
        shape = (part.num_vertices, *partition.manifest.arrays[name].row_shape)
        expected = f"expected shape {list(shape)}, found {list(array.shape)}"
        _require(array.shape == shape, partition, name, expected)
    for name in ("edge_id", "edge_attr", EDGE_WEIGHT):
        edge_array = getattr(partition, name)
        if edge_array is not None:
            expected = f"expected {part.num_edges} rows, found shape {list(edge_array.shape)}"
            _require(edge_array.shape[:1] == (part.num_edges,), partition, name, expected)
            is_list = name == "edge_attr" or edge_array.ndim == 1
            _require(is_list, partition, name, f"expected a number for each edge, {expected}")
    for name, edges in partition.held_out_edges.items():
        fits = edges.ndim == 2 and len(edges) == 2
        expected = f"expected shape [2, n], found {list(edges.shape)}"
        _require(fits, partition, f"{name}_edges", expected)
    for topology in partition.halo_topology:
        num_vertices, num_edges = topology.vertex_ids.size, topology.indices.size
        shapes = {
            "vertices": (topology.vertex_ids, num_vertices),
            "indptr": (topology.indptr, num_vertices + 1),
            "indices": (topology.indices, num_edges),
            "original_id": (topology.original_id, num_vertices),
            "edge_id": (topology.edge_id, num_edges),
            EDGE_WEIGHT: (topology.edge_weight, num_edges),
        }
        for name, (stored, size) in shapes.items():
            fits = stored is None or stored.shape == (size,)
            _require(fits, partition, f"halo_topology_{name}", "its size does not match")


def _check_ends(partition: GraphPartition) -> None:
    """Looks at the first and last entries, which costs two pages a file."""
    _check_indptr_ends(partition, "indptr", partition.indptr, len(partition.indices))
    for topology in partition.halo_topology:
        _check_indptr_ends(
            partition, "halo_topology_indptr", topology.indptr, len(topology.indices)
        )
    sorted_ids = {
        "original_id": (partition.original_id, partition.book.num_vertices),
        "halo": (partition.halo, partition.book.num_vertices),
    }
    sorted_ids |= {name: (ids, partition.num_vertices) for name, ids in partition.splits.items()}
    for name, (ids, limit) in sorted_ids.items():
        in_range = not len(ids) or (ids[0] >= 0 and ids[-1] < limit)
        _require(in_range, partition, name, f"its ids must be in [0, {limit})")


def _check_indptr_ends(
    partition: GraphPartition, name: str, indptr: IntArray, num_edges: int
) -> None:
    fits = indptr[0] == 0 and indptr[-1] == num_edges
    expected = f"must run from 0 to {num_edges}, runs from {indptr[0]} to {indptr[-1]}"
    _require(bool(fits), partition, name, expected)
