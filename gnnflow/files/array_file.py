"""Opens a file of arrays by its extension, without ever unpickling."""

import math
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.errors import DataError, one_line
from gnnflow.files.npy_file import map_member, map_npy, member_names, read_member
from gnnflow.files.table_file import MISSING, Table, read_csv, read_parquet

EXTENSIONS = (".npy", ".npz", ".csv", ".csv.gz", ".parquet")
"""File types that are read."""

_DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+")


def extension(file: Path) -> str:
    """Returns the extension of a file, in small letters, that of a packed file with `.gz`."""
    ending = file.suffix.lower()
    return "".join(file.suffixes[-2:]).lower() if ending == ".gz" else ending


def is_table(file: Path) -> bool:
    """Tells whether a file holds named columns rather than arrays."""
    return extension(file) in (".csv", ".csv.gz", ".parquet")


def open_arrays(file: Path, purpose: str, *, skip_blank: bool = False) -> Table:
    """Returns the arrays, or columns, of a file by name.

    The one array of a .npy file is named ''. Arrays that are not compressed stay on disk.

    Args:
        file: A file with one of `EXTENSIONS`.
        purpose: What the file holds, for messages: `edges`, `features`.
        skip_blank: Leave out blank lines of .csv, where no row has to stand at its place.

    Raises:
        DataError: The file is missing, damaged, of another type, or holds Python objects.
        MissingExtraError: The file is .parquet and pyarrow is not installed.
    """
    if extension(file) not in EXTENSIONS:
        raise DataError(
            f"cannot read {purpose} from {file}: unknown extension '{file.suffix}'; "
            f"convert it to one of {', '.join(EXTENSIONS)}"
        )
    if not file.is_file():
        raise DataError(f"no {purpose} file at {file}; check the path")
    if extension(file) == ".parquet":
        return read_parquet(file)
    if is_table(file):
        return read_csv(file, skip_blank=skip_blank)
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
    """Returns the array of a file, as `one_array` finds it.

    Raises:
        DataError: As `open_arrays` and `one_array`.
    """
    return one_array(open_arrays(file, purpose), file, purpose, names)


def one_array(
    arrays: Mapping[str, NDArray[Any]], file: Path, purpose: str, names: tuple[str, ...]
) -> NDArray[Any]:
    """Returns the only one of a file's arrays, or the one that has one of `names`.

    The columns of a table become the columns of the array; a table of one column gives
    `[num_rows, 1]`, or the array itself where that column holds lists.

    Raises:
        DataError: There are several arrays and none has such a name, or a column holds something
            other than numbers.
    """
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
    if not arrays:
        raise DataError(f"{file} has no column of {purpose}; add one")
    for name, column in arrays.items():
        if column.dtype.kind not in "biuf":
            raise DataError(
                f"column '{name}' of the {purpose} file {file} holds {first_text(column)}; "
                "all columns must hold numbers"
            )
    columns = list(arrays.values())
    if len(columns) == 1:
        # The width is written out: rows that are not there tell nothing.
        return columns[0].reshape(len(columns[0]), math.prod(columns[0].shape[1:]))
    return np.column_stack(columns)


def first_text(array: NDArray[Any]) -> str:
    """Describes the first value that is no number, for a message about an array of another type."""
    if array.dtype.kind not in "OUS":
        return f"'{array.dtype}'"
    fallback = f"'{array.dtype}'"
    for row, value in enumerate(array.flat):
        try:
            float(value)
        except (TypeError, ValueError):
            place = f" in row {row}" if array.ndim == 1 else ""
            comma = _DECIMAL_COMMA.fullmatch(str(value))
            hint = " (decimals are written with a point)" if comma else ""
            found = f"'{str(value)[:80]}'{place}{hint}"
            if str(value).strip().lower() not in MISSING:
                return found
            fallback = found
    return fallback
