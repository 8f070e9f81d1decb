"""Arrays as a raw graph keeps them: labels of each kind, whole ids, floats of 32 bits."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gnnflow.datasets.raw_graph_checks import chunks
from gnnflow.errors import DataError
from gnnflow.files.array_file import first_text

LabelTask = Literal["auto", "classes", "multilabel", "regression"]
"""What labels are, or `auto` to go by their values."""


def labels_of(
    labels: NDArray[Any], file: str | Path, task: LabelTask = "auto"
) -> tuple[NDArray[Any], int]:
    """Brings labels into the form of a raw graph.

    Args:
        labels: `[num_vertices]` or `[num_vertices, 1]` classes as whole numbers, -1 or NaN where
            there is none; `[num_vertices, num_classes]` of 0 and 1; or other numbers, one or
            several for each vertex. NaN is no label.
        file: Where they came from, for messages.
        task: What they are. `auto` takes whole numbers for classes, several columns of 0 and 1
            for `multilabel`, and floats that are neither for a regression.

    Returns:
        The labels, int64 for classes, float32 for others, and the number of classes, 0 for a
        regression.

    Raises:
        DataError: Labels are no numbers, have no rows, or are not what `task` says.
    """
    if labels.dtype.kind not in "biuf" or not labels.ndim:
        raise DataError(
            f"labels in {file} must be numbers, one row per vertex, got {labels.dtype} of shape "
            f"{list(labels.shape)}"
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if task == "regression":
        return as_float32(labels), 0
    if labels.ndim != 1:
        return _rows(labels, file, task)
    if task == "multilabel":
        raise DataError(
            f"labels in {file} are one number for each vertex, and task multilabel has a column "
            "of 0 and 1 for each class; take task classes"
        )
    if labels.dtype.kind == "f":
        missing = np.isnan(labels)
        whole = missing | are_whole(np.where(missing, 0, labels))
        if not whole.all():
            if task == "auto":
                return as_float32(labels), 0
            vertex = int(np.argmin(whole))
            raise DataError(
                f"vertex {vertex} has label {labels[vertex]} in {file}, and classes are whole "
                "numbers from 0; take task regression for other numbers"
            )
        labels = np.where(missing, -1, labels)
    return _classes(labels.astype(np.int64), file)


def as_float32(array: NDArray[Any]) -> NDArray[Any]:
    """Casts numbers; those too large become infinite, which the check of the graph finds."""
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(np.float32)


def are_whole(numbers: NDArray[Any]) -> NDArray[np.bool_]:
    """Tells which floating-point numbers are whole, and so small that their type holds each."""
    # Neither NaN nor infinity is below; as float64, since float16 does not reach so far.
    fits: NDArray[np.bool_] = np.abs(numbers) < np.float64(_first_gap(numbers.dtype))
    fits &= np.where(fits, numbers, 0) % 1 == 0
    return fits


def vertex_ids(array: NDArray[Any], file: str | Path) -> NDArray[Any]:
    """Returns the ids of edges as int32 or int64; copies only where the type is another.

    Raises:
        DataError: A value is no whole number, or too large.
    """
    if array.dtype in (np.int32, np.int64):
        return array
    if array.dtype.kind in "iu":
        if array.dtype == np.uint64 and array.size and array.max() >= 2**63:
            raise DataError(f"edges in {file} name vertex {array.max()}, past the largest int64")
        return array.astype(np.int32 if array.itemsize < 4 else np.int64)
    bad, remedy = None, "number the vertices first"
    if array.dtype.kind != "f":
        bad = first_text(array)
    elif not (whole := are_whole(array)).all():
        value = array[~whole][0]
        place = f" in row {int((~whole).argmax())}" if array.ndim == 1 else ""
        bad = f"'{value}'{place}"
        if abs(value) >= _first_gap(array.dtype):
            remedy = f"{array.dtype} tells ids apart below {_first_gap(array.dtype)}: save integers"
        elif np.isnan(value):
            remedy = "give every edge both ends, or leave it out"
    if bad is not None:
        raise DataError(
            f"edges in {file} hold {bad}, but vertex ids are whole numbers from 0; {remedy}"
        )
    return array.astype(np.int64)


def _classes(classes: NDArray[np.int64], file: str | Path) -> tuple[NDArray[Any], int]:
    num_classes = int(classes.max(initial=-1)) + 1
    wrong = None
    if num_classes > max(2, len(classes)):
        wrong = int(classes.argmax())
    elif classes.min(initial=0) < -1:
        wrong = int(classes.argmin())
    if wrong is not None:
        raise DataError(
            f"vertex {wrong} has label {classes[wrong]} in {file}; as classes, labels are 0 to "
            f"{len(classes) - 1} at most for {len(classes)} vertices, or -1 for none: renumber "
            "them, or take task regression (--task regression) if they are numbers to predict"
        )
    return classes, num_classes


def _rows(labels: NDArray[Any], file: str | Path, task: str) -> tuple[NDArray[Any], int]:
    """Tells several classes from several numbers."""
    if labels.ndim == 2 and task != "classes":
        row_bytes = labels.itemsize * labels.shape[1]
        for start, stop in chunks(len(labels), row_bytes):
            values = labels[start:stop]
            wrong = (values != 0) & (values != 1)
            if values.dtype.kind == "f":
                wrong &= ~np.isnan(values)
            if not wrong.any():
                continue
            if task == "auto" and labels.dtype.kind == "f" and not are_whole(values[wrong]).all():
                return as_float32(labels), 0
            row, column = (int(place) for place in np.argwhere(wrong)[0])
            raise DataError(
                f"labels in {file} hold {values[row, column]} in row {start + row}, column "
                f"{column}, and several columns hold 0 or 1 for each class; take task regression "
                "(--task regression) if they are numbers to predict"
            )
    elif labels.ndim == 2:
        raise DataError(
            f"labels in {file} have {labels.shape[1]} columns, and task classes has one class for "
            "each vertex; take task multilabel, or the column that counts"
        )
    return as_float32(labels), labels.shape[1] if labels.ndim == 2 else 0


def _first_gap(dtype: np.dtype[Any]) -> int:
    """Returns the number above which a floating-point type does not hold every whole number."""
    return int(2 ** (np.finfo(dtype).nmant + 1))
