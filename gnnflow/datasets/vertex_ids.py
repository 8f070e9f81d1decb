"""Whole numbers that come in other types: ids and classes from tables and from other programs."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.errors import DataError
from gnnflow.files.array_file import first_text


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


def _first_gap(dtype: np.dtype[Any]) -> int:
    """Returns the number above which a floating-point type does not hold every whole number."""
    return int(2 ** (np.finfo(dtype).nmant + 1))
