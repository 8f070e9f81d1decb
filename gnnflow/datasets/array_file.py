"""Opens a file of arrays by its extension, without ever unpickling."""

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.datasets.npy_file import map_member, map_npy, member_names, read_member
from gnnflow.datasets.table_file import Table, read_csv, read_parquet
from gnnflow.errors import DataError, one_line

EXTENSIONS = (".npy", ".npz", ".csv", ".parquet")
"""File types that are read."""


def is_table(file: Path) -> bool:
    """Tells whether a file holds named columns rather than arrays."""
    return file.suffix in (".csv", ".parquet")


def open_arrays(file: Path, purpose: str) -> Table:
    """Returns the arrays, or columns, of a file by name.

    The one array of a .npy file is named ''. Arrays that are not compressed stay on disk.

    Args:
        file: A file with one of `EXTENSIONS`.
        purpose: What the file holds, for messages: `edges`, `features`.

    Raises:
        DataError: The file is missing, damaged, of another type, or holds Python objects.
        MissingExtraError: The file is .parquet and pyarrow is not installed.
    """
    if file.suffix not in EXTENSIONS:
        raise DataError(
            f"cannot read {purpose} from {file}: unknown extension '{file.suffix}'; "
            f"convert it to one of {', '.join(EXTENSIONS)}"
        )
    if not file.is_file():
        raise DataError(f"no {purpose} file at {file}; check the path")
    if file.suffix == ".csv":
        return read_csv(file)
    if file.suffix == ".parquet":
        return read_parquet(file)
    try:
        # An archive under the name of an array, and the other way round, is read as what it is.
        if not zipfile.is_zipfile(file):
            return {"": map_npy(file)}
        mapped = {name: map_member(file, name) for name in member_names(file)}
        with zipfile.ZipFile(file) as archive:
            return {
                name: read_member(archive, name) if array is None else array
                for name, array in mapped.items()
            }
    except (ValueError, OSError, MemoryError) as error:
        if "Python objects" in str(error):
            raise DataError(
                f"the {purpose} file {file} holds Python objects, which are never loaded, because "
                "unpickling runs code: save plain numbers"
            ) from error
        raise DataError(
            f"cannot read {purpose} from {file}: {one_line(error)}; write it again"
        ) from error


def open_array(file: Path, purpose: str, names: tuple[str, ...]) -> NDArray[Any]:
    """Returns the array of a file: the only one, or the one that has one of `names`.

    The columns of a table become the columns of the array; a table of one column gives
    `[num_rows, 1]`, or the array itself where that column holds lists.

    Raises:
        DataError: As `open_arrays`; or there are several arrays and none has such a name, or a
            column that holds no numbers.
    """
    arrays = open_arrays(file, purpose)
    if not is_table(file):
        if len(arrays) == 1:
            return next(iter(arrays.values()))
        for name in names:
            if name in arrays:
                return arrays[name]
        raise DataError(
            f"{file} holds the arrays {', '.join(arrays) or '(none)'}; "
            f"name the {purpose} one of {', '.join(names)}"
        )
    for name, column in arrays.items():
        if column.dtype.kind not in "biuf":
            raise DataError(
                f"column '{name}' of the {purpose} file {file} holds '{first_text(column)}'; "
                "all columns must hold numbers"
            )
    columns = list(arrays.values())
    if len(columns) == 1:
        # The width is written out: rows that are not there tell nothing.
        return columns[0].reshape(len(columns[0]), math.prod(columns[0].shape[1:]))
    return np.column_stack(columns)


def first_text(array: NDArray[Any]) -> str:
    """Returns the first value that is no number, for a message about an array of another type."""
    if array.dtype.kind not in "OUS":
        return str(array.dtype)
    for value in array.flat:
        try:
            float(value)
        except (TypeError, ValueError):
            return str(value)[:80]
    return str(array.dtype)
