"""What the arrays of a part hold: every number that something is looked up with, and features.

One pass over each file, a few megabytes at a time, so that a part is never held whole.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gnnflow.array_types import IntArray, Mask
from gnnflow.errors import PartitionFormatError
from gnnflow.partition.mapped_pages import release_pages
from gnnflow.partition.stored_rows import INT8_SCALED, SCALE_BYTES

if TYPE_CHECKING:
    from gnnflow.partition.graph_partition import GraphPartition, HaloTopology

_PIECE_BYTES = 1 << 22
_MAX_FEATURE_BYTES = 1 << 31
"""Features of a part beyond which evenly spread pieces are looked at."""
_BYTES_AN_EDGE = 8
"""Memory that a check may take, as the neighbour lists do."""
_BFLOAT16_EXPONENT = 0x7F80


def check_contents(partition: "GraphPartition", *, thorough: bool) -> list[str]:
    """Looks at every number of the topology, the splits and the labels, and at features.

    Args:
        partition: The part; its files have the sizes and types of the format.
        thorough: Look at all features, however many there are.

    Returns:
        What a user should know, a line each: features that are no finite numbers.

    Raises:
        PartitionFormatError: If something would be looked up with a number that is wrong, or the
            seeds of a split have no labels to learn from.
    """
    scan = _Scan(partition)
    low, high = partition.book.range(partition.part_id)
    num_all = partition.book.num_vertices
    scan.rising("indptr", partition.indptr)
    scan.ascending("original_id", partition.original_id)
    _check_halo(scan, low, high)
    _check_indices(scan, low, high)
    scan.within("edge_id", partition.edge_id, np.iinfo(np.int64).max)
    for name, edges in partition.held_out_edges.items():
        scan.within(f"{name}_edges", edges[0], num_all)
        scan.within(f"{name}_edges", edges[1], high, low)
    for topology in partition.halo_topology:
        _check_halo_topology(scan, topology, low, high)
    _check_splits(scan)
    if "y" in partition.arrays:
        _check_labels(scan)
    notes = []
    for name, spec in partition.manifest.arrays.items():
        if name != "y":
            notes += scan.not_finite(name, partition.arrays[name], spec.dtype, thorough=thorough)
    scan.drawable("edge_weight", partition.edge_weight)
    if partition.edge_attr is not None:
        notes += scan.not_finite("edge_attr", partition.edge_attr, "", thorough=thorough)
    return notes


class _Scan:
    """Goes through arrays of one part in pieces."""

    def __init__(self, partition: "GraphPartition") -> None:
        self.partition = partition

    def refuse(self, name: str, row: int, what: str) -> PartitionFormatError:
        return PartitionFormatError(
            f"{self.partition.folder / name}.npy: row {row} {what}; the partition is damaged or "
            "was written wrongly: run gnnflow-partition again"
        )

    def each(
        self, name: str, array: npt.NDArray[Any], wrong: Callable[[npt.NDArray[Any]], Mask],
        what: str,
    ) -> None:  # fmt: skip
        """Refuses the first row that is wrong; `{}` in what is said of it is its value."""
        for start, piece in pieces(array):
            found = wrong(piece)
            if found.any():
                row = int(found.argmax())
                raise self.refuse(name, start + row, what.format(piece[row]))

    def within(self, name: str, ids: IntArray | None, limit: int, first: int = 0) -> None:
        if ids is not None:
            holds = f"holds {{}}, which is not in [{first}, {limit})"
            self.each(name, ids, lambda piece: (piece < first) | (piece >= limit), holds)

    def drawable(self, name: str, weights: npt.NDArray[np.float32] | None) -> None:
        if weights is not None:
            holds = "holds {}, and a weight is a finite number from 0 on"
            self.each(name, weights, lambda piece: ~((piece >= 0) & (piece < np.inf)), holds)

    def rising(self, name: str, array: IntArray) -> None:
        self._steps(name, array, np.less, "it must not fall")

    def ascending(self, name: str, array: IntArray) -> None:
        self._steps(name, array, np.less_equal, "its ids must ascend")

    def _steps(self, name: str, array: IntArray, wrong: np.ufunc, rule: str) -> None:
        before = None
        for start, piece in pieces(array):
            # Compared, not subtracted: the difference of two int64 may be none.
            ahead = piece if before is None else np.concatenate([[before], piece])
            found = wrong(ahead[1:], ahead[:-1])
            if found.any():
                at = int(found.argmax()) + 1
                row = start + at - (before is not None)
                raise self.refuse(name, row, f"holds {ahead[at]} after {ahead[at - 1]}: {rule}")
            before = piece[-1]

    def not_finite(
        self, name: str, array: npt.NDArray[Any], type_name: str, *, thorough: bool
    ) -> list[str]:
        """Counts rows with numbers that are not finite, and says so in a line."""
        is_wrong = _finder(array, type_name)
        if is_wrong is None:
            return []
        step = 1 if thorough else max(1, -(-array.nbytes // _MAX_FEATURE_BYTES))
        num_wrong, first = 0, -1
        for number, (start, piece) in enumerate(pieces(array)):
            if number % step or _sums_to_a_number(piece):
                continue
            rows = np.flatnonzero(is_wrong(piece))
            if len(rows):
                first = start + int(rows[0]) if first < 0 else first
                num_wrong += len(rows)
        if first < 0:
            return []
        which = f"row {first}"
        if name != "edge_attr":
            which += f", vertex {self.partition.original_id[first]} of the input"
        seen = "" if step == 1 else f" of those looked at (every {step}th of its pieces)"
        path = self.partition.folder / f"{name}.npy"
        return [
            f"{path}: {num_wrong} rows{seen} hold NaN or infinity, first {which}; what is "
            "computed from them is NaN: replace missing values, for example by the mean of the "
            "column, and run gnnflow-partition again"
        ]


def pieces(array: npt.NDArray[Any]) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Yields the first row and the rows of each piece of a mapped array, and gives it back."""
    row_bytes = array.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))
    step = max(1, _PIECE_BYTES // max(1, row_bytes))
    for number, start in enumerate(range(0, len(array), step)):
        yield start, array[start : start + step]
        if number % 16 == 15:
            release_pages(array)
    release_pages(array)


def _check_halo(scan: _Scan, low: int, high: int) -> None:
    partition = scan.partition
    scan.ascending("halo", partition.halo)
    own = f"holds {{}}, which this part owns: its ids are [{low}, {high})"
    scan.each("halo", partition.halo, lambda ids: (ids >= low) & (ids < high), own)
    for start, ids in pieces(partition.halo):
        owners = partition.book.owner(ids)
        told = partition.halo_owner[start : start + len(ids)]
        different = told != owners
        if different.any():
            row = int(different.argmax())
            what = f"holds {told[row]}, and part {owners[row]} owns vertex {ids[row]}"
            raise scan.refuse("halo_owner", start + row, what)
    scan.within("halo_degree", partition.halo_degree, partition.manifest.num_edges + 1)


def _check_indices(scan: _Scan, low: int, high: int) -> None:
    partition = scan.partition
    num_all = partition.book.num_vertices
    scan.within("indices", partition.indices, num_all)
    unknown = "holds {}, which is neither an inner vertex nor in halo.npy"
    halo = partition.halo

    def is_unknown(ids: IntArray) -> Mask:
        outside = (ids < low) | (ids >= high)
        if not len(halo):
            return outside
        # Sorted first: a search from anywhere to anywhere takes twenty times as long.
        remote = np.sort(ids[outside])
        nearest = np.minimum(np.searchsorted(halo, remote), len(halo) - 1)
        strangers = remote[halo[nearest] != remote]
        return np.isin(ids, strangers) if len(strangers) else np.zeros(len(ids), np.bool_)

    if num_all <= _BYTES_AN_EDGE * len(partition.indices):
        # A byte for each vertex of the graph costs less time than a search in the halo.
        known = np.zeros(num_all, dtype=np.bool_)
        known[low:high] = True
        for _, ids in pieces(halo):
            known[ids] = True
        scan.each("indices", partition.indices, lambda ids: ~known[ids], unknown)
    else:
        scan.each("indices", partition.indices, is_unknown, unknown)


def _check_halo_topology(scan: _Scan, topology: "HaloTopology", low: int, high: int) -> None:
    num_all = scan.partition.book.num_vertices
    name = "halo_topology_"
    scan.ascending(f"{name}vertices", topology.vertex_ids)
    scan.within(f"{name}vertices", topology.vertex_ids, num_all)
    own = f"holds {{}}, which this part owns: its ids are [{low}, {high})"
    scan.each(f"{name}vertices", topology.vertex_ids, lambda ids: (ids >= low) & (ids < high), own)
    scan.rising(f"{name}indptr", topology.indptr)
    scan.within(f"{name}indices", topology.indices, num_all)
    scan.within(f"{name}original_id", topology.original_id, num_all)
    scan.within(f"{name}edge_id", topology.edge_id, np.iinfo(np.int64).max)
    scan.drawable(f"{name}edge_weight", topology.edge_weight)


def _check_splits(scan: _Scan) -> None:
    partition = scan.partition
    taken = np.zeros(partition.num_vertices, dtype=np.uint8)
    names = list(partition.splits)
    for number, (name, ids) in enumerate(partition.splits.items(), start=1):
        scan.ascending(name, ids)
        for start, piece in pieces(ids):
            before = taken[piece]
            if before.any():
                row = int(before.argmax())
                vertex = partition.original_id[piece[row]]
                other = names[before[row] - 1]
                what = f"names vertex {vertex} of the input, which is in the split '{other}' too"
                raise scan.refuse(name, start + row, what)
            taken[piece] = min(number, 255)


def _check_labels(scan: _Scan) -> None:
    partition = scan.partition
    labels, num_classes = partition.arrays["y"], partition.manifest.num_classes
    is_whole = labels.dtype.kind in "biu"
    is_class = labels.ndim == 1 and is_whole and num_classes > 0
    if is_class:
        # As Python's numbers: -1 is no uint8, and 300 no limit of one.
        lowest = -1 if labels.dtype.kind == "i" else 0
        highest = min(num_classes - 1, 1 if labels.dtype.kind == "b" else _largest(labels))
        what = f"holds label {{}}, which is not in [0, {num_classes}) or -1 for none"
        scan.each("y", labels, lambda part: (part < lowest) | (part > highest), what)
    several = labels.ndim == 2 and num_classes == labels.shape[1]
    for split, ids in partition.splits.items():
        for _, piece in pieces(ids):
            own = labels[piece]
            if is_class:
                wrong = own < 0 if labels.dtype.kind == "i" else np.zeros(len(own), np.bool_)
            elif several:
                wrong = ((own != 0) & (own != 1)).any(axis=1)
            elif is_whole:
                return
            else:
                wrong = ~np.isfinite(own.reshape(len(own), -1)).all(axis=1)
            if wrong.any():
                at = int(wrong.argmax())
                raise scan.refuse(
                    "y",
                    int(piece[at]),
                    f"holds {own[at]}, no label, and is a seed of the split '{split}' (vertex "
                    f"{partition.original_id[piece[at]]} of the input)",
                )
    release_pages(labels)


def _largest(array: npt.NDArray[Any]) -> int:
    return int(np.iinfo(array.dtype).max)


def _finder(array: npt.NDArray[Any], type_name: str) -> Callable[[npt.NDArray[Any]], Mask] | None:
    """What finds rows that are not finite; None if no row can be."""
    if array.dtype.kind == "f":
        return lambda rows: ~np.isfinite(rows.reshape(len(rows), -1)).all(axis=1)
    if type_name == "bfloat16":
        return lambda rows: _infinite_halves(rows.reshape(len(rows), -1))
    if type_name == INT8_SCALED:
        return lambda rows: (
            ~np.isfinite(np.ascontiguousarray(rows[:, :SCALE_BYTES]).view(np.float32)[:, 0])
        )
    return None


def _infinite_halves(rows: npt.NDArray[Any]) -> Mask:
    exponents = np.bitwise_and(rows, _BFLOAT16_EXPONENT)
    found: Mask = (exponents == _BFLOAT16_EXPONENT).any(axis=1)
    return found


def _sums_to_a_number(piece: npt.NDArray[Any]) -> bool:
    """Whether floats are all finite, told by their sum, which costs a fraction of looking."""
    if piece.dtype.kind != "f":
        return False
    with np.errstate(all="ignore"):
        return bool(np.isfinite(piece.sum(dtype=None if piece.itemsize > 2 else np.float32)))
