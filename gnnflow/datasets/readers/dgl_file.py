"""The binary files of the Deep Graph Library: named arrays, and one graph with its arrays.

Both are plain numbers behind fixed headers, so they are mapped and cut into arrays here, without
DGL and without unpickling anything.

Source: DGL, `src/graph/serialize/tensor_serialize.cc`, `heterograph_serialize.cc`,
    `src/graph/unit_graph.cc` and `src/runtime/ndarray.cc` (read as far as version 2.4).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gnnflow.errors import DataError
from gnnflow.files.regular_file import open_regular

_TENSORS_MAGIC = 0xDD5A9FBE3FA2443F
_GRAPHS_MAGIC = 0xDD2E4FF046B4A13F
_HETERO_GRAPH_MAGIC = 0xDD589FBE35224ABF
_IMMUTABLE_GRAPH_MAGIC = 0xDD3C5FFE20046ABF
_UNIT_GRAPH_MAGIC = 0xDD2E60F0F6B4A127
_CSR_MAGIC = 0xDD6CD31205DFF127
_COO_MAGIC = 0xDD61FFD305DFF127
_ARRAY_MAGIC = 0xDD5E40F096B4A13F

_GRAPHS_VERSION, _HETERO_GRAPH = 2, 2
_METADATA_BYTES = 4096
_KINDS = {0: "i", 1: "u", 2: "f"}  # DLPack's codes of types
_CPU = 1
_COO, _CSR, _CSC = 1, 2, 4
_MAX_DIMENSIONS = 32

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, kw_only=True, slots=True)
class DglGraph:
    """One graph of a file; its arrays are views of the mapped file."""

    num_vertices: int
    """Number of vertices, those of all types."""
    sources: NDArray[Any]
    """`[num_edges]`: where each edge starts."""
    destinations: NDArray[Any]
    """`[num_edges]`: where each edge ends."""
    edge_ids: NDArray[Any] | None
    """`[num_edges]`: row of each edge in `edge_arrays`; None where that is its position."""
    vertex_arrays: dict[str, NDArray[Any]]
    """Arrays with a row per vertex."""
    edge_arrays: dict[str, NDArray[Any]]
    """Arrays with a row per edge."""


def read_tensors(file: Path) -> dict[str, NDArray[Any]]:
    """Returns the arrays of a file that `dgl.data.utils.save_tensors` wrote, mapped.

    Raises:
        DataError: The file is missing, damaged, or holds something else.
    """
    cursor = _Cursor(file)
    cursor.expect(_TENSORS_MAGIC, "a file of DGL tensors")
    cursor.integer()  # how many, which the list says again
    return dict(cursor.sequence(cursor.named_array))


def read_graph(file: Path) -> DglGraph:
    """Returns the first graph of a file that `dgl.save_graphs` wrote; it has one type of edges.

    Raises:
        DataError: The file is missing, damaged, of another version, or holds something else.
    """
    cursor = _Cursor(file)
    cursor.expect(_GRAPHS_MAGIC, "a file of DGL graphs")
    version, kind, num_graphs = (cursor.integer() for _ in range(3))
    if (version, kind) != (_GRAPHS_VERSION, _HETERO_GRAPH) or num_graphs < 1:
        raise cursor.unfit(
            f"holds {num_graphs} graphs of version {version}, kind {kind}, not one of version "
            f"{_GRAPHS_VERSION}, kind {_HETERO_GRAPH}; save it again with DGL 0.5 or newer"
        )
    cursor.seek(_METADATA_BYTES)
    cursor.seek(cursor.integer())  # past the labels
    cursor.expect(_HETERO_GRAPH_MAGIC, "a DGL graph")
    cursor.skip_type_graph()
    num_relations = cursor.integer()
    if num_relations != 1:
        raise cursor.unfit(f"holds {num_relations} types of edges, and a part has one")
    sources, destinations, edge_ids = cursor.relation()
    sizes = cursor.sequence(cursor.integer)
    vertex_arrays = cursor.sequence(lambda: dict(cursor.sequence(cursor.named_array)))
    edge_arrays = cursor.sequence(lambda: dict(cursor.sequence(cursor.named_array)))
    if not len(sizes) == len(vertex_arrays) == len(edge_arrays) == 1:
        raise cursor.unfit("holds several types of vertices, and a part has one")
    return DglGraph(
        num_vertices=sizes[0],
        sources=sources,
        destinations=destinations,
        edge_ids=edge_ids,
        vertex_arrays=vertex_arrays[0],
        edge_arrays=edge_arrays[0],
    )


class _Cursor:
    """Reads a mapped file from front to back."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._position = 0
        try:
            with open_regular(file) as stream:
                self._bytes: NDArray[np.uint8] = np.memmap(stream, dtype=np.uint8, mode="r")
        except (OSError, ValueError) as error:  # ValueError: the file is empty
            raise DataError(f"cannot read {file}: {error}; check the path") from error

    def unfit(self, what: str) -> DataError:
        """Makes the error for content that cannot be used."""
        return DataError(f"{self._file} {what}")

    def seek(self, position: int) -> None:
        self._position = position
        self._take(0)

    def integer(self) -> int:
        return int(self._numbers("<i8", 1)[0])

    def expect(self, magic: int, what: str) -> None:
        found = int(self._numbers("<u8", 1)[0])
        if found != magic:
            raise self.unfit(f"is not {what}, or is damaged (magic number {found:#x})")

    def sequence(self, read: Callable[[], ItemT]) -> list[ItemT]:
        """Reads a length and so many items, each of which is at least eight bytes."""
        length = self.integer()
        if not 0 <= length <= len(self._bytes) // 8:
            raise self._truncated()
        return [read() for _ in range(length)]

    def named_array(self) -> tuple[str, NDArray[Any]]:
        name = self._take(self.integer()).tobytes()
        return name.decode("utf-8", "replace"), self.array()

    def array(self) -> NDArray[Any]:
        self.expect(_ARRAY_MAGIC, "made of DGL arrays")
        self.integer()  # reserved
        device, _, num_dimensions = (int(number) for number in self._numbers("<i4", 3))
        code, bits = (int(number) for number in self._take(2))
        lanes = int(self._numbers("<u2", 1)[0])
        if device != _CPU or not 0 <= num_dimensions <= _MAX_DIMENSIONS:
            raise self._truncated()
        shape = [int(number) for number in self._numbers("<i8", num_dimensions)]
        num_bytes = self.integer()
        if code not in _KINDS or bits not in (8, 16, 32, 64) or lanes != 1:
            raise self.unfit(
                f"holds an array of DLPack type {code} with {bits} bits; cast it to integers or "
                "to float16, float32 or float64 and save it again"
            )
        dtype = np.dtype(f"<{_KINDS[code]}{bits // 8}")
        if min(shape, default=0) < 0 or num_bytes != int(np.prod(shape)) * dtype.itemsize:
            raise self._truncated()
        return self._take(num_bytes).view(dtype).reshape(shape)

    def skip_type_graph(self) -> None:
        """Passes over the graph of types, which the names of types repeat."""
        self.expect(_IMMUTABLE_GRAPH_MAGIC, "a DGL graph")
        self._csr()

    def relation(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
        """Reads the edges in the first of the formats that the file has them in."""
        self.expect(_UNIT_GRAPH_MAGIC, "a DGL graph")
        formats, _ = self.integer() & 0xFFFFFFFF, self.integer()
        found: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]] = []
        for one in (_COO, _CSR, _CSC):
            if not formats & one:
                continue
            self.skip_type_graph()
            if one == _COO:
                found.append(self._coo())
                continue
            indptr, indices, edge_ids = self._csr()
            counts = np.diff(indptr)
            ends_fit = len(indptr) and indptr[0] == 0 and indptr[-1] == len(indices)
            if not ends_fit or counts.min(initial=0) < 0:
                raise self._truncated()
            rows = np.repeat(np.arange(len(counts)), counts)
            ends = (rows, indices) if one == _CSR else (indices, rows)
            found.append((*ends, edge_ids))
        if not found:
            raise self.unfit(f"stores no edges (formats {formats:#x})")
        return found[0]

    def _csr(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
        self.expect(_CSR_MAGIC, "a DGL graph")
        self._numbers("<i8", 2)  # columns and rows
        indptr, indices, edge_ids = self._ids(), self._ids(), self._ids()
        self._take(1)  # sorted or not
        return indptr, indices, edge_ids if len(edge_ids) else None

    def _coo(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
        self.expect(_COO_MAGIC, "a DGL graph")
        self._numbers("<i8", 2)
        rows, columns, edge_ids = self._ids(), self._ids(), self._ids()
        self._take(2)
        return rows, columns, edge_ids if len(edge_ids) else None

    def _ids(self) -> NDArray[Any]:
        array = self.array()
        if array.ndim != 1 or array.dtype.kind != "i":
            raise self._truncated()
        return array

    def _numbers(self, dtype: str, count: int) -> NDArray[Any]:
        return self._take(count * np.dtype(dtype).itemsize).view(dtype)

    def _take(self, num_bytes: int) -> NDArray[np.uint8]:
        start, stop = self._position, self._position + num_bytes
        if not 0 <= start <= stop <= len(self._bytes):
            raise self._truncated()
        self._position = stop
        return self._bytes[start:stop]

    def _truncated(self) -> DataError:
        return self.unfit(f"ends too early or is damaged near byte {self._position}; copy it again")
