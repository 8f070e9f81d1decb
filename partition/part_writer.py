"""Writing the folders of the parts from lists in global ids."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow import _kernels
from gnnflow.array_types import IntArray
from gnnflow.datasets.row_source import RowSource
from gnnflow.partition.assignment import Assignment
from gnnflow.partition.csc import Csc
from gnnflow.partition.halo_topology import (
    HALO_TOPOLOGY_PREFIX,
    vertices_within,
    write_halo_topology,
)
from gnnflow.partition.manifest import EDGE_WEIGHT, FileSpec, part_folder
from gnnflow.partition.mapped_pages import release_pages, release_rows
from gnnflow.partition.npy_writer import NpyWriter, write_array
from gnnflow.partition.stage_progress import Progress

_CHUNK_BYTES = 1 << 24
_CHUNK_EDGES = 1 << 20
_TAKEN_BYTES = 1 << 27


@dataclass(slots=True)
class WrittenPart:
    """What writing a part told: entries for its manifest, figures for the report."""

    files: dict[str, FileSpec]
    num_vertices: int
    num_edges: int
    num_halo: int
    num_seeds: dict[str, int]
    halo_from: IntArray
    """int64 `[num_parts]`: halo vertices by owner."""
    edges_from: IntArray
    """int64 `[num_parts]`: edges by owner of the source."""

    @property
    def halo_topology_bytes(self) -> int:
        """Size of the files with neighbour lists beyond the part."""
        return sum(
            file.size_bytes
            for name, file in self.files.items()
            if name.startswith(HALO_TOPOLOGY_PREFIX)
        )


class PartWriter:
    """Writes the parts of one graph under a folder."""

    def __init__(self, root: Path, assignment: Assignment, csc: Csc, halo_hops: int) -> None:
        """Makes the folders.

        Args:
            root: An existing folder.
            assignment: Who owns what.
            csc: In-neighbour lists of all vertices, in global ids.
            halo_hops: Hops of topology to store beyond the inner vertices.
        """
        self._root = root
        self._assignment = assignment
        self._csc = csc
        self._halo_hops = halo_hops
        self._num_parts = assignment.book.num_parts
        sizes = np.diff(assignment.book.offsets)
        self._owner = np.repeat(np.arange(self._num_parts, dtype=assignment.global_id.dtype), sizes)
        for part_id in range(self._num_parts):
            (root / part_folder(part_id)).mkdir()

    def write_topology(
        self,
        part_id: int,
        splits: Mapping[str, IntArray],
        edge_attr: npt.NDArray[Any] | None,
    ) -> WrittenPart:
        """Writes the lists, halo, seeds, attributes and weights of edges of a part.

        Args:
            part_id: The part.
            splits: Original ids of each split, ascending.
            edge_attr: `[num_edges, ...]` in input order.
        """
        assignment, csc = self._assignment, self._csc
        low, high = assignment.book.range(part_id)
        folder = self._root / part_folder(part_id)
        indptr = csc.indptr[low : high + 1] - csc.indptr[low]
        edge_range = slice(int(csc.indptr[low]), int(csc.indptr[high]))
        indices = csc.indices[edge_range]
        halo = self._neighbors_outside(indices, np.s_[low:high])
        halo_owner = assignment.book.owner(halo)
        seeds = {
            name: assignment.global_id[ids[assignment.part[ids] == part_id]] - low
            for name, ids in splits.items()
        }
        contents: dict[str, npt.NDArray[Any]] = {
            "indptr": indptr,
            "original_id": assignment.original_id[low:high].astype(np.int64),
            "halo": halo,
            "halo_owner": halo_owner,
            "halo_degree": csc.indptr[halo + 1] - csc.indptr[halo],
        }
        contents |= {name: ids.astype(np.int64) for name, ids in seeds.items()}
        files = {
            f"{name}.npy": write_array(folder / f"{name}.npy", array)
            for name, array in contents.items()
        }
        files["indices.npy"] = _write_as_int64(folder / "indices.npy", indices)
        if csc.edge_id is not None:
            edge_id = csc.edge_id[edge_range]
            files["edge_id.npy"] = write_array(folder / "edge_id.npy", edge_id)
            if edge_attr is not None:
                path = folder / "edge_attr.npy"
                files["edge_attr.npy"] = _write_taken(path, edge_attr, edge_id)
        if csc.edge_weight is not None:
            path = folder / f"{EDGE_WEIGHT}.npy"
            files[path.name] = write_array(path, csc.edge_weight[edge_range])
        if self._halo_hops:
            vertices = vertices_within(
                csc, np.s_[low:high], halo, self._halo_hops, assignment.book.num_vertices
            )
            files |= write_halo_topology(folder, assignment, csc, vertices)
        return WrittenPart(
            files=files,
            num_vertices=high - low,
            num_edges=len(indices),
            num_halo=len(halo),
            num_seeds={name: len(ids) for name, ids in seeds.items()},
            halo_from=np.bincount(halo_owner, minlength=self._num_parts),
            edges_from=self._count_owners(indices),
        )

    def write_held_out_edges(
        self, part_id: int, held_out: Mapping[str, npt.NDArray[Any]]
    ) -> dict[str, FileSpec]:
        """Writes the edges kept out of the topology whose destination a part owns.

        Args:
            part_id: The part.
            held_out: `[2, n]` original ids of each split of edges.

        Returns:
            The entries of the files.
        """
        assignment = self._assignment
        files = {}
        for name, edges in held_out.items():
            own = edges[:, assignment.part[edges[1]] == part_id]
            global_ids = assignment.global_id[own].astype(np.int64)
            file = f"{name}_edges.npy"
            files[file] = write_array(self._root / part_folder(part_id) / file, global_ids)
        return files

    def write_rows(self, name: str, source: RowSource, progress: Progress) -> list[FileSpec]:
        """Streams a per-vertex array into the parts, reading it once from front to back.

        Args:
            name: Name of the array.
            source: Its rows by original id.
            progress: Told about the rows done.

        Returns:
            The entry of each part's file.
        """
        num_vertices, row_shape = source.shape[0], source.shape[1:]
        row_bytes = source.dtype.itemsize * int(np.prod(row_shape, dtype=np.int64))
        step = max(1, _CHUNK_BYTES // max(1, row_bytes))
        part = self._assignment.part
        sizes = np.diff(self._assignment.book.offsets)
        with ExitStack() as stack:
            writers = [
                stack.enter_context(
                    NpyWriter(
                        self._root / part_folder(part_id) / f"{name}.npy",
                        source.dtype,
                        (int(sizes[part_id]), *row_shape),
                    )
                )
                for part_id in range(self._num_parts)
            ]
            for start in range(0, num_vertices, step):
                stop = min(num_vertices, start + step)
                rows = source.rows(np.arange(start, stop, dtype=np.int64))
                owners = part[start:stop]
                # Ids ascend within a part as they do in the input, so rows arrive in order.
                for part_id, writer in enumerate(writers):
                    writer.append(rows[owners == part_id])
                release_rows(source)
                progress(f"writing {name}", stop, num_vertices)
            return [writer.finish() for writer in writers]

    def _neighbors_outside(self, indices: npt.NDArray[Any], inside: slice) -> IntArray:
        """Distinct ids among `indices` that are not in a range, ascending."""
        seen = np.zeros(self._assignment.book.num_vertices, dtype=np.bool_)
        # NumPy widens an index array to 64 bits before it uses it, so it gets a piece at a time.
        for start in range(0, len(indices), _CHUNK_EDGES):
            seen[indices[start : start + _CHUNK_EDGES]] = True
        seen[inside] = False
        return np.flatnonzero(seen)

    def _count_owners(self, indices: npt.NDArray[Any]) -> IntArray:
        counts = np.zeros(self._num_parts, dtype=np.int64)
        _kernels.count_ids(indices, self._owner, counts)
        return counts


def _write_as_int64(path: Path, ids: npt.NDArray[Any]) -> FileSpec:
    with NpyWriter(path, np.int64, ids.shape) as writer:
        for start in range(0, len(ids), _CHUNK_EDGES):
            writer.append(ids[start : start + _CHUNK_EDGES])
        return writer.finish()


def _write_taken(path: Path, array: npt.NDArray[Any], rows: IntArray) -> FileSpec:
    """Writes `array[rows]`, a piece at a time, reading each piece from front to back."""
    step = max(1, _TAKEN_BYTES // max(1, array.nbytes // max(1, len(array))))
    with NpyWriter(path, array.dtype, (len(rows), *array.shape[1:])) as writer:
        for start in range(0, len(rows), step):
            wanted = rows[start : start + step]
            order = np.argsort(wanted, kind="stable")
            taken = np.empty((len(wanted), *array.shape[1:]), dtype=array.dtype)
            taken[order] = array[wanted[order]]
            release_pages(array)
            writer.append(taken)
        return writer.finish()
