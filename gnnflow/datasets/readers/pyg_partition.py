"""A folder that `torch_geometric.distributed.Partitioner` wrote, read without running its pickles.

The `.pt` files are dictionaries of tensors, which `torch.load(weights_only=True)` reads without
calling anything that a file names. Ids are those of the graph before it was partitioned.
"""

import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.datasets import structure
from gnnflow.datasets.array_kinds import LabelTask, labels_of
from gnnflow.datasets.raw_graph import Progress, RawGraph
from gnnflow.datasets.readers.edge_arrays import narrow
from gnnflow.datasets.readers.segments import Segment, SegmentedRows, vertex_arrays
from gnnflow.datasets.row_source import ArrayRows, RowSource
from gnnflow.datasets.split_file import read_splits
from gnnflow.datasets.vertex_table import open_vertex_arrays
from gnnflow.errors import DataError
from gnnflow.files.array_file import one_array
from gnnflow.files.array_sink import ArraySink
from gnnflow.files.json_text import parse_json
from gnnflow.files.regular_file import open_regular, read_regular

logger = logging.getLogger(__name__)

_META = "META.json"


class _PermutedRows:
    """Rows that are stored in another order."""

    def __init__(self, stored: RowSource, place: NDArray[np.int64]) -> None:
        """Takes the rows, and where each is stored."""
        self._stored, self._place = stored, place

    @property
    def shape(self) -> tuple[int, ...]:
        """`[num_rows, ...]`."""
        return self._stored.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type of the rows."""
        return self._stored.dtype

    def rows(self, ids: NDArray[np.int64]) -> NDArray[Any]:
        """Returns the rows of `ids`, in that order."""
        return self._stored.rows(self._place[ids])


def from_pyg_partition(
    folder: str | Path,
    *,
    labels: str | Path | None = None,
    split: str | Path | None = None,
    task: LabelTask = "auto",
    workdir: str | Path | None = None,
    progress: Progress | None = None,
) -> RawGraph:
    """Reads a partition folder of PyG, of one type; `RawGraph.part` says who owned what.

    Args:
        folder: The folder that holds `META.json`.
        labels: File of labels in the original order of the vertices, which PyG's folder lacks;
            of a type that `from_files` reads, or a `.pt` file of one tensor.
        split: File of splits, as `from_files` reads it.
        task: What labels are.
        workdir: Folder for files of edges; without one they are held in memory.
        progress: Called after each part.

    Raises:
        DataError: A file is missing, damaged, or of a kind that is not read.
    """
    folder = Path(folder)
    num_parts = _num_parts(folder)
    part = _tensor(folder / "node_map.pt").astype(np.int32)
    num_vertices = len(part)
    tables = [_load(folder / f"part_{number}" / "node_feats.pt") for number in range(num_parts)]
    place, segments = _vertex_segments(folder, tables, num_vertices)
    found = vertex_arrays(segments, task=task)
    arrays: dict[str, RowSource] = {
        name: _PermutedRows(rows, place) for name, rows in found.arrays.items()
    }
    num_classes = found.num_classes
    if labels is not None:
        y, num_classes = labels_of(_labels(Path(labels), num_vertices), labels, task)
        arrays["y"] = ArrayRows(y)
    place_for = None if workdir is None else Path(workdir)
    edges, edge_attr = _edges(folder, num_parts, num_vertices, place_for, progress)
    graph = RawGraph(
        name=folder.resolve().name,
        source=f"PyTorch Geometric partition {folder.name}",
        num_vertices=num_vertices,
        edges=edges,
        arrays=arrays,
        splits={} if split is None else read_splits(Path(split), num_vertices),
        num_classes=num_classes,
        edge_attr=edge_attr,
        part=part,
    )
    if "x" not in graph.arrays:
        graph = structure.with_features(graph, None, seed=0)
    return graph


def _num_parts(folder: Path) -> int:
    file = folder / _META
    try:
        meta = parse_json(read_regular(file))
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot read {file}: {error}; give the folder that "
            "torch_geometric.distributed.Partitioner wrote"
        ) from error
    num_parts = meta.get("num_parts") if isinstance(meta, dict) else None
    if type(num_parts) is not int or num_parts < 1:
        raise DataError(f"{file} must give 'num_parts' as a number from 1, got {num_parts!r}")
    if meta.get("is_hetero"):
        raise DataError(
            f"{folder} holds a graph of several types, which is not read from PyG's partitions; "
            "partition the HeteroData object instead: "
            "gnnflow.partition.partition_graph(gnnflow.datasets.from_pyg(data), ...)"
        )
    return num_parts


def _vertex_segments(
    folder: Path, tables: Sequence[Any], num_vertices: int
) -> tuple[NDArray[np.int64], list[Segment]]:
    """Returns where each vertex is in the parts' tables, one behind the other, and the tables."""
    place = np.full(num_vertices, -1, dtype=np.int64)
    segments, done = [], 0
    for number, table in enumerate(tables):
        where = f"part {number}"
        ids = _entry(table, "global_id", folder / f"part_{number}" / "node_feats.pt")
        feats = table.get("feats") or {}
        arrays = {name: _numpy(value) for name, value in feats.items() if value is not None}
        place[_in_range(ids, num_vertices, where)] = np.arange(done, done + len(ids))
        segments.append(Segment(where=where, num_rows=len(ids), arrays=arrays))
        done += len(ids)
    if done != num_vertices or (place < 0).any():
        raise DataError(
            f"the parts of {folder} own {done} vertices, node_map.pt names {num_vertices}; the "
            "files belong to different partitions: copy the folder again"
        )
    return place, segments


def _edges(
    folder: Path,
    num_parts: int,
    num_vertices: int,
    workdir: Path | None,
    progress: Progress | None,
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Returns all edges in their original order, and their attributes."""
    num_edges = len(_tensor(folder / "edge_map.pt"))
    edges = np.empty((2, num_edges), dtype=np.int32 if num_vertices < 2**31 else np.int64)
    place = np.full(num_edges, -1, dtype=np.int64)
    attributes, done = [], 0
    left_out: set[str] = set()
    for number in range(num_parts):
        file = folder / f"part_{number}" / "graph.pt"
        graph, where = _load(file), f"part {number}"
        ids = _in_range(_entry(graph, "edge_id", file), num_edges, where)
        for row, name in enumerate(("row", "col")):
            ends = _in_range(_entry(graph, name, file), num_vertices, where)
            if len(ends) != len(ids):
                raise DataError(f"{file} is damaged: '{name}' and 'edge_id' differ in length")
            edges[row, ids] = ends
        place[ids] = np.arange(done, done + len(ids))
        done += len(ids)
        feats = (_load(file.with_name("edge_feats.pt")) or {}).get("feats") or {}
        if "edge_attr" in feats:
            attributes.append(narrow(_numpy(feats["edge_attr"])))
        left_out.update(name for name in feats if name != "edge_attr")
        if progress is not None:
            progress("reading parts", number + 1, num_parts)
    if done != num_edges or (place < 0).any():
        raise DataError(
            f"the parts of {folder} own {done} edges, edge_map.pt names {num_edges}; the files "
            "belong to different partitions: copy the folder again"
        )
    if left_out:
        logger.warning(
            "leaving out the edge arrays %s: a graph has one, 'edge_attr'",
            ", ".join(sorted(left_out)),
        )
    if not attributes:
        return _stored(edges, workdir, "pyg-edges.npy"), None
    rows = SegmentedRows(attributes)
    if rows.shape[0] != num_edges:
        raise DataError(f"{folder} has attributes of {rows.shape[0]} of its {num_edges} edges")
    return _stored(edges, workdir, "pyg-edges.npy"), rows.rows(place)


def _stored(array: NDArray[Any], workdir: Path | None, name: str) -> NDArray[Any]:
    """Moves an array to a file, so that it leaves memory."""
    if workdir is None:
        return array
    with ArraySink(array.shape, array.dtype, workdir / name) as sink:
        sink.write(0, array)
        return sink.array()


def _labels(file: Path, num_vertices: int) -> NDArray[Any]:
    if file.suffix == ".pt":
        return _tensor(file)
    arrays = open_vertex_arrays(file, "labels", num_vertices, partial=True)
    return one_array(arrays, file, "labels", ("y", "labels"))


def _load(file: Path) -> Any:
    import torch

    try:
        with _only_dictionaries(), open_regular(file):
            return torch.load(file, weights_only=True, mmap=True, map_location="cpu")
    except Exception as error:  # whatever a damaged archive or a forbidden class may raise
        reasons = str(error).strip().splitlines() or [type(error).__name__]
        reason = next((one.strip() for one in reasons if "Unsupported" in one), reasons[0])
        raise DataError(
            f"cannot read {file}: {reason}; only tensors, numbers and dictionaries of them are "
            "read, because other pickles run code"
        ) from error


@contextmanager
def _only_dictionaries() -> Iterator[None]:
    """Makes `torch.load` take nothing beyond tensors and dictionaries.

    PyG keeps edge features in a defaultdict, which is read as another kind of dictionary. What the
    rest of the program has allowed does not count here.
    """
    from torch import serialization

    allowed = serialization.get_safe_globals()
    serialization.clear_safe_globals()
    serialization.add_safe_globals([(OrderedDict, "collections.defaultdict")])
    try:
        yield
    finally:
        serialization.clear_safe_globals()
        serialization.add_safe_globals(allowed)


def _tensor(file: Path) -> NDArray[Any]:
    tensor = _load(file)
    if not hasattr(tensor, "numpy"):
        raise DataError(f"{file} holds a {type(tensor).__name__}, not one tensor")
    return _numpy(tensor)


def _entry(table: Any, name: str, file: Path) -> NDArray[Any]:
    if not isinstance(table, dict) or not hasattr(table.get(name), "numpy"):
        raise DataError(f"{file} has no tensor '{name}'; it is no part of a PyG partition")
    return _numpy(table[name])


def _numpy(tensor: Any) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().numpy()
    return array


def _in_range(ids: NDArray[Any], limit: int, where: str) -> NDArray[Any]:
    if len(ids) and not (0 <= ids.min() and ids.max() < limit):
        raise DataError(
            f"{where} names id {ids.min() if ids.min() < 0 else ids.max()}, but ids are 0 to "
            f"{limit - 1}; the files belong to different partitions: copy the folder again"
        )
    return ids
