"""A graph from the user's own files."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.datasets import structure
from gnnflow.datasets.array_file import first_text, is_table, open_array, open_arrays
from gnnflow.datasets.checks import check_edges, chunks
from gnnflow.datasets.raw_graph import RawGraph
from gnnflow.datasets.row_source import ArrayRows, RowSource, float_rows
from gnnflow.datasets.split_file import read_splits
from gnnflow.errors import DataError

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
    num_vertices: int | None = None,
    num_classes: int | None = None,
    name: str | None = None,
    seed: int = 0,
) -> RawGraph:
    """Reads a graph from .npy, .npz, .csv or .parquet files and checks it.

    Vertices are numbered from 0; there are as many as rows of features or labels, or else the
    largest id plus one. `docs/datasets.md` shows each format.

    Args:
        edges: `[2, num_edges]`, `[num_edges, 2]` or two columns, source and destination; an array
            of shape `[2, 2]` is read as `[2, num_edges]`. A .npy file stays on disk.
        features: `[num_vertices, num_features]`; or `degree` or `learned`, features made from the
            edges. Without any, `degree` is taken.
        labels: Classes from 0 (`-1` or NaN: no label), numbers, or `[num_vertices, num_classes]`
            of 0 and 1.
        split: Masks or index arrays named train, val and test, or a column `split` with names.
        edge_features: `[num_edges, ...]`, one row for each edge in the order of `edges`. A .npy
            file stays on disk unless it is float64, which is read as float32.
        num_vertices: Number of vertices, where files do not tell it.
        num_classes: Number of classes, where it is larger than the largest label says.
        name: Name of the graph, by default that of the edges file.
        seed: Seed of `learned` features.

    Raises:
        DataError: A file is missing or wrong in any way; the message says what to do.
        MissingExtraError: A file is .parquet and pyarrow is not installed.
    """
    edge_array = read_edges(Path(edges))
    x = None if features is None or str(features) in structure.FEATURES else Path(features)
    arrays: dict[str, RowSource] = {}
    if x is not None:
        arrays["x"] = _feature_rows(x)
    if labels is not None:
        y, found_classes = classes_of(open_array(Path(labels), "labels", ("y", "labels")), labels)
        arrays["y"] = ArrayRows(y)
    else:
        found_classes = 0
    if num_vertices is None:
        num_vertices = _count_vertices(arrays, edge_array)
    if x is None:
        check_edges(edge_array, num_vertices)
        kind = "degree" if features is None else str(features)
        if features is None:
            logger.warning(
                "no features given: using %s ones, made from the number of neighbours; "
                "'learned' ones tell vertices apart better",
                kind,
            )
        arrays["x"] = structure.FEATURES[kind](edge_array, num_vertices, seed)
    files = [edges, features or "degree", labels, split, edge_features]
    graph = RawGraph(
        name=name or Path(edges).stem,
        source="files " + ", ".join(Path(file).name for file in files if file is not None),
        num_vertices=num_vertices,
        edges=edge_array,
        arrays=arrays,
        splits={} if split is None else read_splits(Path(split), num_vertices),
        num_classes=found_classes if num_classes is None else num_classes,
        edge_attr=None if edge_features is None else _edge_attributes(Path(edge_features)),
    )
    graph.validate()
    return graph


def read_edges(file: Path) -> NDArray[Any]:
    """Reads edges as `[2, num_edges]`, int32 or int64; a .npy file of these stays on disk.

    Raises:
        DataError: The file cannot be read, or holds no such array.
    """
    if is_table(file):
        columns = list(open_arrays(file, "edges").values())
        if len(columns) != 2:
            raise DataError(
                f"{file} has {len(columns)} columns; edges are two, source and destination"
            )
        if any(column.ndim != 1 for column in columns):
            raise DataError(f"{file} has columns of lists; edges are two columns of vertex ids")
        ends = [_vertex_ids(column, file) for column in columns]
        largest = max((int(end.max()) for end in ends if len(end)), default=0)
        return np.stack(ends, dtype=np.int32 if largest < 2**31 else np.int64, casting="unsafe")
    array = open_array(file, "edges", ("edges", "edge_index"))
    if array.ndim != 2 or 2 not in array.shape:
        raise DataError(
            f"edges in {file} have shape {list(array.shape)}; they must be [2, num_edges] or "
            "[num_edges, 2]"
        )
    return _vertex_ids(array if array.shape[0] == 2 else array.T, file)


def _vertex_ids(array: NDArray[Any], file: Path) -> NDArray[Any]:
    """Returns ids as int32 or int64; copies only where the type is another."""
    if array.dtype in (np.int32, np.int64):
        return array
    if array.dtype.kind in "iu":
        if array.dtype == np.uint64 and array.size and array.max() >= 2**63:
            raise DataError(f"edges in {file} name vertex {array.max()}, past the largest int64")
        return array.astype(np.int32 if array.itemsize < 4 else np.int64)
    bad = None
    if array.dtype.kind != "f":
        bad = first_text(array)
    elif (strange := array[~_are_ids(array)]).size:
        bad = str(strange[0])
    if bad is not None:
        raise DataError(
            f"edges in {file} hold '{bad}', but vertex ids are whole numbers from 0; "
            "number the vertices first"
        )
    return array.astype(np.int64)


def _are_ids(numbers: NDArray[Any]) -> NDArray[np.bool_]:
    """Tells which floating-point numbers are whole and fit into int64."""
    # Neither NaN nor infinity is below; as float64, since float16 does not reach so far.
    fits: NDArray[np.bool_] = np.abs(numbers) < np.float64(2.0**63)
    fits &= np.where(fits, numbers, 0) % 1 == 0
    return fits


def _feature_rows(file: Path) -> ArrayRows:
    x = open_array(file, "features", ("x", "features"))
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
    is_wide = attributes.dtype.kind == "f" and attributes.itemsize > 4
    return _as_float32(attributes) if is_wide else attributes


def _as_float32(array: NDArray[Any]) -> NDArray[Any]:
    """Casts numbers; those too large become infinite, which the check of the graph finds."""
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(np.float32)


def classes_of(labels: NDArray[Any], file: str | Path) -> tuple[NDArray[Any], int]:
    """Brings labels into the form of a raw graph.

    Args:
        labels: Classes as integers or whole numbers, NaN or -1 where there is none; other numbers
            for regression; or `[num_vertices, num_classes]` of 0 and 1.
        file: Where they came from, for messages.

    Returns:
        The labels, int64 for classes, float32 for others, and the number of classes.

    Raises:
        DataError: Labels are no numbers, have no rows, or one is so large that there were more
            classes than vertices.
    """
    if labels.dtype.kind not in "biuf" or not labels.ndim:
        raise DataError(
            f"labels in {file} must be numbers, one row per vertex, got {labels.dtype} of shape "
            f"{list(labels.shape)}"
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        return _as_float32(labels), labels.shape[1] if labels.ndim == 2 else 0
    if labels.dtype.kind == "f":
        missing = np.isnan(labels)
        if not _are_ids(labels[~missing]).all():
            return _as_float32(labels), 0
        labels = np.where(missing, -1, labels)
    classes = labels.astype(np.int64)
    num_classes = int(classes.max(initial=-1)) + 1
    if num_classes > max(2, len(classes)):
        vertex = int(classes.argmax())
        raise DataError(
            f"vertex {vertex} has label {num_classes - 1} in {file}: more classes than the "
            f"{len(classes)} vertices; renumber the classes from 0"
        )
    return classes, num_classes


def _count_vertices(arrays: dict[str, RowSource], edges: NDArray[Any]) -> int:
    for source in arrays.values():
        return source.shape[0]
    largest = [
        int(edges[:, start:stop].max())
        for start, stop in chunks(edges.shape[1], 2 * edges.itemsize)
    ]
    if not largest:
        raise DataError("there are neither edges, features nor labels; give num_vertices")
    num_vertices, num_edges = max(0, max(largest)) + 1, edges.shape[1]
    if num_vertices > _MOST_VERTICES_ALONE + _MOST_VERTICES_PER_EDGE * num_edges:
        raise DataError(
            f"the edges name vertex {num_vertices - 1}, but there are only {num_edges} of them; "
            "number the vertices from 0 without gaps, or give features, labels or num_vertices if "
            "there really are so many"
        )
    return num_vertices
