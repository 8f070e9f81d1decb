"""A graph from the user's own files."""

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.datasets import structure
from gnnflow.datasets.array_kinds import LabelTask, labels_of, vertex_ids
from gnnflow.datasets.raw_graph import RawGraph
from gnnflow.datasets.raw_graph_checks import chunks
from gnnflow.datasets.readers.edge_arrays import narrow
from gnnflow.datasets.row_source import ArrayRows, RowSource, float_rows
from gnnflow.datasets.split_file import read_splits, splits_of_column
from gnnflow.datasets.split_spec import Splits, SplitSpec, make_splits, parse_split
from gnnflow.datasets.vertex_table import open_vertex_arrays
from gnnflow.errors import DataError
from gnnflow.files.array_file import is_table, one_array, open_array, open_arrays

logger = logging.getLogger(__name__)

# What can be inferred from the largest id; past it the ids are no numbers of rows.
_MOST_VERTICES_ALONE = 1_000_000
_MOST_VERTICES_PER_EDGE = 64


def from_files(
    edges: str | Path,
    *,
    features: str | Path | None = None,
    labels: str | Path | None = None,
    split: str | Path | None = None,
    edge_features: str | Path | None = None,
    edge_weights: str | Path | None = None,
    num_vertices: int | None = None,
    num_classes: int | None = None,
    task: LabelTask = "auto",
    name: str | None = None,
    seed: int = 0,
) -> RawGraph:
    """Reads a graph from .npy, .npz, .csv, .csv.gz or .parquet files and checks it.

    Vertices are numbered from 0; there are as many as rows of features or labels, or else the
    largest id plus one. The rows of a table with a column of ids go by these. `docs/datasets.md`
    shows each format.

    Args:
        edges: `[2, num_edges]`, `[num_edges, 2]` or two columns, source and destination; an array
            of shape `[2, 2]` is read as `[2, num_edges]`. A .npy file stays on disk.
        features: `[num_vertices, num_features]`; or `degree` or `learned`, features made from the
            edges. Without any, `degree` is taken.
        labels: Classes from 0 (`-1` or NaN: no label), numbers, or `[num_vertices, num_classes]`
            of 0 and 1.
        split: File of masks or index arrays named train, val and test, or of a column `split` with
            names; or `random:0.6,0.2,0.2`, `stratified:0.6,0.2,0.2`, or `column:NAME` for a column
            of the features or labels.
        edge_features: `[num_edges, ...]`, one row for each edge in the order of `edges`. A .npy
            file stays on disk unless it is float64, which is read as float32.
        edge_weights: `[num_edges]`, how likely samplers keep each edge, finite and not negative, in
            the order of `edges`.
        num_vertices: Number of vertices, where files do not tell it.
        num_classes: Number of classes, where it is larger than the largest label says.
        task: What labels are; `auto` goes by their values.
        name: Name of the graph, by default that of the edges file.
        seed: Seed of `learned` features and of a split by chance.

    Raises:
        DataError: A file is missing or wrong in any way; the message says what to do.
        MissingExtraError: A file is .parquet and pyarrow is not installed.
    """
    edge_array = read_edges(Path(edges))
    spec = None if split is None else parse_split(split)
    made = features is None or str(features) in structure.FEATURES
    vertices = _VertexFiles(edge_array, None if spec is None else spec.column, num_vertices)
    if features is not None and not made:
        vertices.read_features(features)
    if labels is not None:
        vertices.read_labels(labels, task)
    files = [edges, features or "degree", labels, split, edge_features, edge_weights]
    graph = RawGraph(
        name=name or Path(edges).stem.removesuffix(".csv"),
        source="files " + ", ".join(Path(file).name for file in files if file is not None),
        num_vertices=vertices.count(),
        edges=edge_array,
        arrays=vertices.arrays,
        splits={},
        num_classes=vertices.num_classes if num_classes is None else num_classes,
        edge_attr=None if edge_features is None else _edge_attributes(Path(edge_features)),
        edge_weight=None if edge_weights is None else read_edge_weights(edge_weights),
    )
    if made:
        kind = None if features is None else str(features)
        graph = structure.with_features(graph, kind, seed)
    if split is not None:
        graph = replace(graph, splits=vertices.splits(spec, split, graph, seed))
    graph.validate()
    return graph


def read_edge_weights(file: str | Path) -> NDArray[Any]:
    """Returns the numbers in a file of weights of edges; a .npy file stays on disk.

    Raises:
        DataError: The file is missing, or holds something other than one number for each edge.
    """
    weights = open_array(Path(file), "edge weights", ("edge_weight", "edge_weights", "weight"))
    weights = weights[:, 0] if weights.ndim == 2 and weights.shape[1] == 1 else weights
    if weights.dtype.kind not in "biuf" or weights.ndim != 1:
        raise DataError(
            f"edge weights in {file} must be one number for each edge, got {weights.dtype} of "
            f"shape {list(weights.shape)}"
        )
    return weights


class _VertexFiles:
    """Reads the files of vertices, and takes out of them the column that splits are in."""

    def __init__(
        self, edges: NDArray[Any], split_column: str | None, num_vertices: int | None
    ) -> None:
        self._edges = edges
        self._split_column = split_column or None
        self._num_vertices = num_vertices
        self._found: tuple[NDArray[Any], Path] | None = None
        self._names: list[str] = []
        self.arrays: dict[str, RowSource] = {}
        self.num_classes = 0

    def read_features(self, file: str | Path) -> None:
        self.arrays["x"] = _feature_rows(self._array_of(Path(file), "features"), file)
        self._num_vertices = self._num_vertices or self.arrays["x"].shape[0]

    def read_labels(self, file: str | Path, task: LabelTask) -> None:
        y, self.num_classes = labels_of(self._array_of(Path(file), "labels"), file, task)
        self.arrays["y"] = ArrayRows(y)
        self._num_vertices = self._num_vertices or len(y)

    def count(self) -> int:
        if self._num_vertices is None:
            self._num_vertices = count_vertices(self._edges)
        return self._num_vertices

    def splits(
        self, spec: SplitSpec | None, split: str | Path, graph: RawGraph, seed: int
    ) -> Splits:
        if spec is None:
            return read_splits(Path(split), graph.num_vertices)
        if spec.kind != "column":
            return make_splits(spec, graph.num_vertices, graph.arrays, graph.num_classes, seed)
        if self._found is None:
            known = ", ".join(name for name in self._names if name) or "none"
            raise DataError(
                f"no column '{spec.column}' in the files of features and labels; they have: {known}"
            )
        column, file = self._found
        if len(column) != graph.num_vertices:
            raise DataError(
                f"column '{spec.column}' of {file} has {len(column)} rows, but the graph has "
                f"{graph.num_vertices} vertices; there must be one row per vertex"
            )
        return splits_of_column(column, spec.column, file)

    def _array_of(self, file: Path, purpose: str) -> NDArray[Any]:
        is_labels = purpose == "labels"
        arrays = open_vertex_arrays(
            file,
            purpose,
            self._num_vertices,
            partial=is_labels,
            count=partial(count_vertices, self._edges) if is_labels else None,
        )
        self._names += arrays
        column = arrays.pop(self._split_column, None) if self._split_column else None
        if column is not None:
            self._found = column, file
        return one_array(arrays, file, purpose, ("y", "labels") if is_labels else ("x", "features"))


def read_edges(file: Path) -> NDArray[Any]:
    """Reads edges as `[2, num_edges]`, int32 or int64; a .npy file of these stays on disk.

    Raises:
        DataError: The file cannot be read, or holds no such array.
    """
    if is_table(file):
        columns = open_arrays(file, "edges", skip_blank=True)
        if len(columns) != 2:
            raise DataError(
                f"{file} has {len(columns)} columns; edges are two, source and destination: leave "
                "out an index, and put others into a file of edge features"
            )
        if any(column.ndim != 1 for column in columns.values()):
            raise DataError(f"{file} has columns of lists; edges are two columns of vertex ids")
        ends = [vertex_ids(column, file) for column in columns.values()]
        largest = max((int(end.max()) for end in ends if len(end)), default=0)
        id_type = np.int32 if largest < 2**31 else np.int64
        edges = np.stack(ends, dtype=id_type, casting="unsafe")
        repeats = list(columns) == ["0", "1"] and edges[:, :1].ravel().tolist() == [0, 1]
        if repeats and bool((edges[:, 1:] == [[0], [1]]).all(axis=0).any()):
            logger.warning(
                "the first line of %s is read as an edge, 0 -> 1, which comes again further down; "
                "if it is the names of the columns, as pandas writes them, leave it out",
                file,
            )
        return edges
    array = open_array(file, "edges", ("edges", "edge_index"))
    if array.ndim != 2 or 2 not in array.shape:
        raise DataError(
            f"edges in {file} have shape {list(array.shape)}; they must be [2, num_edges] or "
            "[num_edges, 2]"
        )
    return vertex_ids(array if array.shape[0] == 2 else array.T, file)


def count_vertices(edges: NDArray[Any], option: str = "--num-vertices") -> int:
    """Returns how many vertices there are if the largest id in the edges is the last one.

    Vertices without an edge are named in a warning, and refused where they are more than half:
    ids with gaps are seldom meant.

    Args:
        edges: `[2, num_edges]`.
        option: What tells the number of vertices otherwise, for messages.

    Raises:
        DataError: There are no edges, or too few for their ids.
    """
    pieces = list(chunks(edges.shape[1], 2 * edges.itemsize))
    if not pieces:
        raise DataError("there are neither edges, features nor labels; give num_vertices")
    largest = max(int(edges[:, start:stop].max()) for start, stop in pieces)
    num_vertices, num_edges = max(0, largest) + 1, edges.shape[1]
    if num_vertices > _MOST_VERTICES_ALONE + _MOST_VERTICES_PER_EDGE * num_edges:
        raise DataError(
            f"the edges name vertex {num_vertices - 1}, but there are only {num_edges} of them; "
            "number the vertices from 0 without gaps, or give features, labels or num_vertices if "
            "there really are so many"
        )
    used = np.zeros(num_vertices, dtype=np.bool_)
    for start, stop in pieces:
        used[np.maximum(edges[:, start:stop], 0)] = True
    num_used = int(np.count_nonzero(used))
    if num_used < num_vertices:
        what = (
            f"the edges name {num_used} vertices, and the largest id is {largest}: "
            f"{num_vertices - num_used} have no edge, {int(used.argmin())} the first; number the "
            f"vertices from 0 without gaps, or give {option} {num_vertices}"
        )
        if 2 * num_used < num_vertices:
            raise DataError(f"{what} if there really are so many")
        logger.warning("%s to say that this is meant", what)
    return num_vertices


def _feature_rows(x: NDArray[Any], file: str | Path) -> ArrayRows:
    if x.dtype.kind not in "biuf":
        raise DataError(f"features in {file} must be numbers, got {x.dtype}")
    if x.ndim != 2:
        raise DataError(
            f"features in {file} have shape {list(x.shape)}; "
            "they must be [num_vertices, num_features]"
        )
    return float_rows(x)


def _edge_attributes(file: Path) -> NDArray[Any]:
    attributes = open_array(file, "edge features", ("edge_attr", "edge_features"))
    if attributes.dtype.kind not in "biuf":
        raise DataError(f"edge features in {file} must be numbers, got {attributes.dtype}")
    return narrow(attributes)
