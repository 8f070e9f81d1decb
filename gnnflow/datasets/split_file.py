"""Reads which vertices are for training, validation and test."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.datasets.vertex_table import open_vertex_arrays
from gnnflow.errors import DataError
from gnnflow.files.array_file import extension, is_table, open_arrays

logger = logging.getLogger(__name__)

SPLIT_ORDER = ("train", "val", "test")
"""Names of the splits, in the order in which they are kept."""

SPLIT_ALIASES = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
"""Names of splits that are understood, and what they stand for."""

NO_SPLIT = ("", "none", "unused")
"""What a `split` column may hold for a vertex in no split."""


def read_splits(file: Path, num_vertices: int) -> dict[str, NDArray[np.int64]]:
    """Reads the splits train, val and test.

    Args:
        file: A .npz file with arrays of these names, masks over all vertices or vertex ids; or a
            table with masks as columns of these names, or with a column `split` of names.
        num_vertices: Length of a mask.

    Raises:
        DataError: A name is unknown, a mask is not one value of 0 or 1 per vertex, or ids name a
            vertex twice.
    """
    if extension(file) == ".npy":
        raise DataError(
            f"{file} holds one array without a name; "
            "save a .npz file with arrays named train, val and test"
        )
    if not is_table(file):
        arrays = open_arrays(file, "split")
    else:
        arrays = open_vertex_arrays(file, "split", num_vertices, partial=True)
        _check_lengths(file, arrays, num_vertices)
        if "split" in arrays:
            return splits_of_column(arrays["split"], "split", file)
        hint = "a column with names of splits must be called 'split'"
        arrays = {
            name: _mask(column, f"column '{name}' of {file}", hint)
            for name, column in arrays.items()
        }
    splits = {}
    for name, array in arrays.items():
        if name not in SPLIT_ALIASES:
            raise DataError(
                f"{file} holds '{name}'; splits are named train, val and test"
                + (" or given by a column 'split'" if is_table(file) else "")
            )
        if SPLIT_ALIASES[name] in splits:
            raise DataError(f"{file} gives the split '{SPLIT_ALIASES[name]}' twice; leave one out")
        splits[SPLIT_ALIASES[name]] = _split_ids(name, array, num_vertices, file)
    return _with_train(splits, file)


def splits_of_column(
    column: NDArray[Any], name: str, file: str | Path
) -> dict[str, NDArray[np.int64]]:
    """Returns the splits that a column gives, one value for each vertex.

    Args:
        column: Names of splits, empty for none; or 0, 1 and 2 for train, val and test, NaN or -1
            for none.
        name: Name of the column, for messages.
        file: Where it came from, for messages.

    Raises:
        DataError: A value is no split, or none is train.
    """
    where = f"column '{name}' of {file}"
    if column.ndim != 1 or column.dtype.kind not in "biufU":
        raise DataError(
            f"{where} must hold the names of splits, got {column.dtype} of shape "
            f"{list(column.shape)}"
        )
    if column.dtype.kind != "U":
        known = [(number, split) for number, split in enumerate(("train", "val", "test"))]
        missing = column == -1
        if column.dtype.kind == "f":
            missing |= np.isnan(column)
        unknown = ~missing & ~np.isin(column, (0, 1, 2))
        if unknown.any() or column.dtype.kind == "b":
            row = int(unknown.argmax())
            raise DataError(
                f"{where} holds {column[row]} in row {row}; known: {', '.join(SPLIT_ALIASES)}, or "
                "empty for none, or 0, 1, 2 for train, val, test and -1 for none"
            )
        logger.warning("the numbers 0, 1, 2 of %s are taken for train, val and test", where)
        splits = {split: np.flatnonzero(column == number) for number, split in known}
        return _with_train({name: ids for name, ids in splits.items() if len(ids)}, file)
    names, first_row, codes = np.unique(column, return_index=True, return_inverse=True)
    found: dict[str, NDArray[np.int64]] = {}
    for code, split in enumerate(str(each).lower() for each in names):
        if split in NO_SPLIT:
            continue
        if split not in SPLIT_ALIASES:
            raise DataError(
                f"{where} holds '{names[code]}' in row {first_row[code]}; "
                f"known: {', '.join(SPLIT_ALIASES)}, or empty for none"
            )
        ids, split = np.flatnonzero(codes == code), SPLIT_ALIASES[split]
        found[split] = np.union1d(found.get(split, ids), ids)
    return _with_train(found, file)


def mask_ids(mask: NDArray[Any], where: str) -> NDArray[np.int64]:
    """Returns the ids that a mask holds: those where it is true or 1; a missing value is 0.

    Raises:
        DataError: It holds other values; `where` names it.
    """
    return np.flatnonzero(_mask(mask, where)).astype(np.int64)


def _with_train(
    splits: dict[str, NDArray[np.int64]], file: str | Path
) -> dict[str, NDArray[np.int64]]:
    if "train" not in splits:
        raise DataError(f"{file} has no train split; name one of its arrays or columns 'train'")
    return splits


def _check_lengths(file: Path, columns: dict[str, NDArray[Any]], num_vertices: int) -> None:
    for name, column in columns.items():
        if len(column) != num_vertices:
            raise DataError(
                f"column '{name}' of {file} has {len(column)} rows, but the graph has "
                f"{num_vertices} vertices; there must be one row per vertex"
            )


def _mask(
    column: NDArray[Any], where: str, hint: str = "choose 0 or 1 for each vertex"
) -> NDArray[np.bool_]:
    if column.dtype.kind == "f":
        column = np.where(np.isnan(column), 0, column)
    found = f"{column.dtype}"
    if column.dtype.kind in "biuf":
        wrong = ~np.isin(column, (0, 1))
        if not wrong.any():
            return column.astype(np.bool_)
        found = f"{column[wrong][0]} in row {np.argwhere(wrong)[0][0]}"
    raise DataError(f"{where} must hold 0 and 1 (or true and false), got {found}; {hint}")


def _split_ids(name: str, array: NDArray[Any], num_vertices: int, file: Path) -> NDArray[np.int64]:
    """Turns a mask or ids into sorted unique ids."""
    if array.ndim != 1 or array.dtype.kind not in "biu":
        raise DataError(
            f"split '{name}' in {file} is {array.dtype} of shape {list(array.shape)}; "
            "it must be a mask over all vertices or a list of vertex ids"
        )
    # Ids are told from a mask by naming each vertex once.
    looks_like_mask = len(array) > 2 and bool(np.isin(array, (0, 1)).all())
    if array.dtype == np.bool_ or looks_like_mask:
        if len(array) != num_vertices:
            raise DataError(
                f"mask '{name}' in {file} has {len(array)} values, but the graph has "
                f"{num_vertices} vertices"
            )
        return np.flatnonzero(array).astype(np.int64)
    ids, counts = np.unique(array.astype(np.int64), return_counts=True)
    if counts.max(initial=1) > 1:
        raise DataError(
            f"split '{name}' in {file} names vertex {ids[counts.argmax()]} {counts.max()} times; "
            "it must be a mask of 0 and 1 over all vertices or name each vertex once"
        )
    return ids
