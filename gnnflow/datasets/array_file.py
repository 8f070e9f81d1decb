"""Opens a file of arrays by its extension, without ever unpickling."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.datasets.npz_member import map_member
from gnnflow.datasets.table_file import Table, read_csv, read_parquet
from gnnflow.errors import DataError

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
        if file.suffix == ".npy":
            return {"": np.load(file, mmap_mode="r", allow_pickle=False)}
        archive = np.load(file, allow_pickle=False)
        if isinstance(archive, np.ndarray):  # a .npy file under another name
            return {"": archive}
        with archive:
            members = {name: map_member(file, name) for name in archive.files}
            return {
                name: archive[name] if mapped is None else mapped
                for name, mapped in members.items()
            }
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        if "pickle" in str(error):
            raise DataError(
                f"the {purpose} file {file} holds Python objects or is no numpy file; objects are "
                "never loaded, because unpickling runs code: save plain numbers"
            ) from error
        raise DataError(f"cannot read {purpose} from {file}: {error}; write it again") from error


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
        return columns[0].reshape(len(columns[0]), -1)
    return np.column_stack(columns)


def first_text(array: NDArray[Any]) -> str:
    """Returns the first value that is no number, for a message about an array of another type."""
    for value in array.flat:
        try:
            float(value)
        except (TypeError, ValueError):
            return str(value)
    return str(array.dtype)
