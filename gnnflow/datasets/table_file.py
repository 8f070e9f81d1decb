"""Reads tables of numbers: .csv with numpy, .parquet with pyarrow."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.errors import DataError, MissingExtraError, one_line

Table = dict[str, NDArray[Any]]
"""Columns by name, in the order of the file; without a header they are named 0, 1, ..."""


def read_csv(file: Path) -> Table:
    """Reads a file of comma-, semicolon-, tab- or space-separated values.

    A first line that holds anything but numbers names the columns; lines that start with # before
    it are skipped. Millions of lines a second are read by numpy's own parser, which takes no more
    time on one core than pyarrow's and a third of the memory.

    Raises:
        DataError: The file is empty or its lines differ in their number of values.
    """
    num_skipped, first = _first_line(file)
    delimiter = next((mark for mark in ",;\t" if mark in first), None)
    cells = [cell.strip().strip('"') for cell in first.split(delimiter)]
    has_header = not all(_is_number(cell) for cell in cells)
    names = cells if has_header else [str(column) for column in range(len(cells))]
    failure: ValueError | None = None
    for dtype in (np.int64, np.float64, np.str_):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # a header and no lines are no error
                values = np.loadtxt(
                    file,
                    dtype=dtype,
                    delimiter=delimiter,
                    skiprows=num_skipped + has_header,
                    ndmin=2,
                    encoding="utf-8-sig",
                    quotechar='"',
                )
        except ValueError as error:
            failure = error
            if "number of columns changed" in str(error):
                break
            continue
        if values.size and values.shape[1] != len(names):
            raise DataError(
                f"{file} has {len(names)} names of columns and {values.shape[1]} columns of values"
            )
        values = values.reshape(-1, len(names))
        return {name: _from_text(values[:, column]) for column, name in enumerate(names)}
    raise DataError(f"cannot read {file} as CSV: {one_line(failure)}") from failure


def read_parquet(file: Path) -> Table:
    """Reads the columns of a parquet file; a column of equally long lists becomes 2-D.

    Raises:
        DataError: The file is damaged, or holds lists of different lengths.
        MissingExtraError: pyarrow is not installed.
    """
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet", f"reading {file.name}") from error
    try:
        table = parquet.read_table(file)
        # Text is decoded here, and may not be what it says it is.
        columns = [
            _to_numpy(file, *each) for each in zip(table.column_names, table.columns, strict=True)
        ]
    except DataError:
        raise
    except (ArrowException, OSError, ValueError) as error:
        raise DataError(f"cannot read {file} as parquet: {one_line(error)}") from error
    return dict(zip(table.column_names, columns, strict=True))


def _first_line(file: Path) -> tuple[int, str]:
    """Returns the number of comment lines at the start and the first line after them."""
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        for number, line in enumerate(lines):
            if line.strip() and not line.startswith("#"):
                return number, line.strip()
    raise DataError(f"{file} is empty; it must hold at least one line of values")


def _is_number(cell: str) -> bool:
    if cell.lower() in ("", "true", "false"):
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _to_numpy(file: Path, name: str, column: Any) -> NDArray[Any]:
    """Turns an Arrow column into an array; missing numbers become NaN, missing names ''."""
    from pyarrow import types

    kind = column.type
    if types.is_string(kind) or types.is_large_string(kind) or types.is_dictionary(kind):
        encoded = column if types.is_dictionary(kind) else column.dictionary_encode()
        encoded = encoded.unify_dictionaries().combine_chunks()
        words = np.array(["", *encoded.dictionary.to_pylist()], dtype=np.str_)
        codes: NDArray[Any] = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        named: NDArray[Any] = words[codes + 1]
        return named
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        values = column.combine_chunks()
        flat = values.flatten().to_numpy(zero_copy_only=False)
        lengths = np.unique(values.value_lengths().fill_null(-1).to_numpy(zero_copy_only=False))
        if len(lengths) > 1:
            raise DataError(
                f"column '{name}' of {file} holds lists of {lengths[0]} to {lengths[-1]} values; "
                "every row must have the same number"
            )
        width = max(int(lengths[0]), 0) if len(lengths) else 0
        return np.reshape(flat, (len(values), width))
    if types.is_boolean(kind):
        column = column.fill_null(False)
    array: NDArray[Any] = column.to_numpy()
    return array


def _from_text(column: NDArray[Any]) -> NDArray[Any]:
    """Makes numbers of a column of text where all of it is numbers or truth values."""
    if column.dtype.kind != "U":
        return column
    lower = np.char.lower(column)
    if np.isin(lower, ("true", "false", "")).all():
        return np.asarray(lower == "true")
    for dtype in (np.int64, np.float64):
        try:
            return np.where(lower == "", "nan", column).astype(dtype)
        except (ValueError, OverflowError):
            continue
    return column
