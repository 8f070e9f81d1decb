"""Reads which vertices are for training, validation and test."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.datasets.array_file import is_table, open_arrays
from gnnflow.errors import DataError

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
        DataError: A name is unknown, or a mask is not one value of 0 or 1 per vertex.
    """
    if file.suffix == ".npy":
        raise DataError(
            f"{file} holds one array without a name; "
            "save a .npz file with arrays named train, val and test"
        )
    arrays = open_arrays(file, "split")
    if is_table(file):
        arrays = _masks_of_table(file, arrays, num_vertices)
    splits = {}
    for name, array in arrays.items():
        if name not in SPLIT_ALIASES:
            raise DataError(
                f"{file} holds '{name}'; splits are named train, val and test"
                + (" or given by a column 'split'" if is_table(file) else "")
            )
        splits[SPLIT_ALIASES[name]] = _split_ids(name, array, num_vertices, file)
    if "train" not in splits:
        raise DataError(f"{file} has no train split; name one of its arrays or columns 'train'")
    return splits


def _masks_of_table(
    file: Path, columns: dict[str, NDArray[Any]], num_vertices: int
) -> dict[str, NDArray[Any]]:
    """Checks the rows of a table and turns a column `split` into masks."""
    for name, column in columns.items():
        if len(column) != num_vertices:
            raise DataError(
                f"column '{name}' of {file} has {len(column)} rows, but the graph has "
                f"{num_vertices} vertices; there must be one row per vertex"
            )
    if "split" not in columns:
        for name, column in columns.items():
            if column.dtype.kind not in "biuf" or not np.isin(column, (0, 1)).all():
                raise DataError(
                    f"column '{name}' of {file} must hold 0 and 1 (or true and false); "
                    "a column with names of splits must be called 'split'"
                )
        return {name: column.astype(np.bool_) for name, column in columns.items()}
    if columns["split"].ndim != 1 or columns["split"].dtype.kind not in "biufU":
        raise DataError(
            f"column 'split' of {file} must hold the names of splits, got "
            f"{columns['split'].dtype} of shape {list(columns['split'].shape)}"
        )
    names, codes = np.unique(columns["split"].astype(np.str_), return_inverse=True)
    unknown = [name for name in names if name not in SPLIT_ALIASES and name not in NO_SPLIT]
    if unknown:
        raise DataError(
            f"column 'split' of {file} holds '{unknown[0]}'; "
            f"known: {', '.join(SPLIT_ALIASES)}, or empty for none"
        )
    return {str(name): codes == code for code, name in enumerate(names) if name not in NO_SPLIT}


def _split_ids(name: str, array: NDArray[Any], num_vertices: int, file: Path) -> NDArray[np.int64]:
    """Turns a mask or ids into sorted unique ids."""
    if array.ndim != 1 or array.dtype.kind not in "biu":
        raise DataError(
            f"split '{name}' in {file} is {array.dtype} of shape {list(array.shape)}; "
            "it must be a mask over all vertices or a list of vertex ids"
        )
    looks_like_mask = len(array) == num_vertices > 2 and np.isin(array, (0, 1)).all()
    if array.dtype == np.bool_ or looks_like_mask:
        if len(array) != num_vertices:
            raise DataError(
                f"mask '{name}' in {file} has {len(array)} values, but the graph has "
                f"{num_vertices} vertices"
            )
        return np.flatnonzero(array).astype(np.int64)
    return np.unique(array.astype(np.int64))
