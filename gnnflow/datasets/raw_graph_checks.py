"""Checks of raw graphs, in chunks, so that memory-mapped inputs are never held whole."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.datasets.row_source import RowSource
from gnnflow.errors import DataError

CHUNK_BYTES = 1 << 26
"""Bytes that a check holds at a time."""


def chunks(num_rows: int, row_bytes: int) -> Iterator[tuple[int, int]]:
    """Yields `(start, stop)` ranges of rows of about `CHUNK_BYTES` each."""
    step = max(1, CHUNK_BYTES // max(1, row_bytes))
    for start in range(0, num_rows, step):
        yield start, min(num_rows, start + step)


def check_edges(edges: NDArray[Any], num_vertices: int) -> None:
    """Checks that every edge joins two vertices that exist.

    Raises:
        DataError: Wrong shape, wrong type, or an id outside `[0, num_vertices)`.
    """
    if edges.ndim != 2 or edges.shape[0] != 2:
        raise DataError(f"edges must have shape [2, num_edges], got {list(edges.shape)}")
    if edges.dtype not in (np.dtype(np.int32), np.dtype(np.int64)):
        raise DataError(f"edges must be int32 or int64, got {edges.dtype}; cast them first")
    for start, stop in chunks(edges.shape[1], 2 * edges.itemsize):
        chunk = edges[:, start:stop]
        if 0 <= chunk.min() and chunk.max() < num_vertices:
            continue
        position = int(np.argmax(((chunk < 0) | (chunk >= num_vertices)).any(axis=0)))
        source, destination = (int(end) for end in chunk[:, position])
        missing = destination if 0 <= source < num_vertices else source
        raise DataError(
            f"edge {start + position} ({source} -> {destination}) names vertex {missing}, but the "
            f"graph has {num_vertices} vertices, numbered 0 to {num_vertices - 1}; "
            "renumber the vertices or add the missing rows"
        )


def check_finite(
    name: str,
    array: NDArray[Any],
    dtype: np.dtype[Any] | None = None,
    *,
    allow_missing: bool = False,
) -> None:
    """Checks that a floating-point array holds neither NaN nor infinity.

    Args:
        name: Name of the array, for messages.
        array: The values.
        dtype: Type in which they will be used, which they must fit; by default their own.
        allow_missing: Whether NaN may stand where there is no value.

    Raises:
        DataError: A value is not finite; names the first such row.
    """
    if not np.issubdtype(array.dtype, np.floating):
        return
    dtype = array.dtype if dtype is None or dtype.kind != "f" else dtype
    largest = np.finfo(dtype).max
    row_bytes = array.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))
    for start, stop in chunks(len(array), row_bytes):
        # Neither NaN nor infinity is at most a number.
        values = array[start:stop]
        finite = np.abs(values) <= largest
        if allow_missing:
            finite |= np.isnan(values)
        if finite.all():
            continue
        row, *position = (int(index) for index in np.argwhere(~finite)[0])
        value = array[(start + row, *position)]
        column = f", column {position[0]}," if position else ""
        raise DataError(
            f"'{name}' holds {value} in row {start + row}{column} and must be finite as {dtype}; "
            + (
                "replace it, or leave it missing (NaN) outside the splits"
                if allow_missing
                else "replace missing values, for example by the mean of the column"
            )
        )


def check_weights(weights: NDArray[Any], num_edges: int) -> None:
    """Checks that edges can be drawn by their weights, which are kept as float32.

    Raises:
        DataError: There is not one number for each edge, or one is negative, not finite, or too
            large or too small for float32; names the first such edge.
    """
    if weights.shape != (num_edges,) or weights.dtype.kind not in "biuf":
        raise DataError(
            f"edge weights must be one number for each of the {num_edges} edges, got "
            f"{weights.dtype} of shape {list(weights.shape)}"
        )
    for start, stop in chunks(num_edges, 16):
        values = weights[start:stop]
        with np.errstate(over="ignore", under="ignore"):
            kept = values.astype(np.float32)
        # Neither NaN nor infinity is below.
        fits = (values >= 0) & (kept < np.inf) & ((kept > 0) | (values == 0))
        if fits.all():
            continue
        edge = int(np.argmin(fits))
        value = values[edge]
        is_weight = value >= 0 and value < np.inf
        raise DataError(
            f"edge {start + edge} has weight {value}, "
            + (
                "which float32 does not hold; multiply all weights with a number that makes them "
                "moderate"
                if is_weight
                else "and weights must be finite and not negative; 0 is for edges never to draw"
            )
        )


def check_array(name: str, source: RowSource, num_vertices: int) -> None:
    """Checks the shape and the type of a per-vertex array.

    Raises:
        DataError: It has not one row per vertex, or holds something other than numbers.
    """
    if not source.shape or source.shape[0] != num_vertices:
        raise DataError(
            f"'{name}' must have one row per vertex: the graph has {num_vertices} vertices, "
            f"'{name}' has shape {list(source.shape)}"
        )
    if source.dtype.kind not in "biuf":
        raise DataError(f"'{name}' must hold numbers, got {source.dtype}")


def check_labels(labels: NDArray[Any], num_classes: int) -> None:
    """Checks labels against the number of classes; -1, or NaN among floats, is no label.

    Raises:
        DataError: A class outside `[-1, num_classes)`, or a multi-label row with another width
            than `num_classes` or a value that is not 0 or 1.
    """
    if labels.ndim == 2 and num_classes:
        if num_classes != labels.shape[1]:
            raise DataError(
                f"multi-label 'y' has {labels.shape[1]} columns, but num_classes is {num_classes}; "
                "make it 0 for columns of numbers to predict"
            )
        wrong = (labels != 0) & (labels != 1)
        if labels.dtype.kind == "f":
            wrong &= ~np.isnan(labels)
        if wrong.any():
            row, column = (int(index) for index in np.argwhere(wrong)[0])
            raise DataError(
                f"multi-label 'y' must hold 0 or 1, got {labels[row, column]} "
                f"in row {row}, column {column}"
            )
    elif labels.ndim == 1 and np.issubdtype(labels.dtype, np.integer) and num_classes:
        outside = np.flatnonzero((labels < -1) | (labels >= num_classes))
        if len(outside):
            vertex = int(outside[0])
            raise DataError(
                f"vertex {vertex} has label {labels[vertex]}, but labels must be in "
                f"[0, {num_classes}) or -1 for 'no label'; "
                "renumber the labels or raise num_classes"
            )


def missing_labels(labels: NDArray[Any], num_classes: int) -> NDArray[np.bool_]:
    """Tells which rows of labels are none: -1 among classes, NaN in any column of floats."""
    if labels.dtype.kind == "f":
        rows = np.isnan(labels)
        return rows if rows.ndim == 1 else np.asarray(rows.any(axis=1))
    if labels.ndim == 1 and num_classes:
        return np.asarray(labels < 0)
    return np.zeros(len(labels), dtype=np.bool_)


def check_splits(
    splits: Mapping[str, NDArray[np.int64]],
    num_vertices: int,
    labels: NDArray[Any] | None,
    num_classes: int,
) -> None:
    """Checks that splits are sorted, in range, apart from each other and have labels.

    Raises:
        DataError: Any of these does not hold, or the train split is empty.
    """
    belongs_to = np.zeros(num_vertices, dtype=np.uint8)
    names = list(splits)
    for number, (name, ids) in enumerate(splits.items(), start=1):
        if ids.ndim != 1 or ids.dtype != np.int64:
            raise DataError(
                f"split '{name}' must be a 1-D int64 array of vertex ids, "
                f"got {ids.dtype} of shape {list(ids.shape)}"
            )
        if name == "train" and not len(ids):
            raise DataError("the train split is empty; at least one vertex must be in it")
        outside = ids[(ids < 0) | (ids >= num_vertices)]
        if len(outside):
            raise DataError(
                f"split '{name}' names vertex {outside[0]}, but the graph has {num_vertices} "
                f"vertices, numbered 0 to {num_vertices - 1}"
            )
        if (np.diff(ids) <= 0).any():
            raise DataError(f"split '{name}' must be sorted and name each vertex once")
        taken = np.flatnonzero(belongs_to[ids])
        if len(taken):
            vertex = int(ids[taken[0]])
            other = names[belongs_to[vertex] - 1]
            raise DataError(
                f"vertex {vertex} is in the splits '{other}' and '{name}' ({len(taken)} vertices "
                "are); splits must not overlap"
            )
        belongs_to[ids] = number
        if labels is not None:
            unlabelled = ids[missing_labels(labels[ids], num_classes)]
            if len(unlabelled):
                raise DataError(
                    f"split '{name}' holds vertex {unlabelled[0]}, which has no label "
                    f"({len(unlabelled)} such vertices); leave them out of the split"
                )


def check_part(part: NDArray[Any], num_vertices: int) -> None:
    """Checks that every vertex has a part.

    Raises:
        DataError: Wrong shape, wrong type, or a negative number.
    """
    if part.shape != (num_vertices,) or part.dtype != np.int32:
        raise DataError(
            f"part must be int32 [{num_vertices}], one for each vertex, got {part.dtype} "
            f"{list(part.shape)}"
        )
    if part.min(initial=0) < 0:
        vertex = int(part.argmin())
        raise DataError(f"vertex {vertex} is in part {part[vertex]}; parts are numbered from 0")
