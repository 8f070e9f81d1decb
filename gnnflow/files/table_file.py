"""Reads tables of numbers: .csv with numpy, .parquet with pyarrow."""

import csv
import gzip
import io
import logging
import re
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.errors import DataError, MissingExtraError, one_line

logger = logging.getLogger(__name__)

Table = dict[str, NDArray[Any]]
"""Columns by name, in the order of the file; without a header they are named 0, 1, ..."""

MISSING = ("", "na", "n/a", "nan", "null", "none")
"""What stands for a missing number or truth value, in small letters."""

_TRUTH = ("true", "false")
_QUOTED = re.compile(r'"[^"]*"')
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n))[ \t]*[\r\n]")
_SCAN_BYTES = 1 << 24


def read_csv(file: Path, *, skip_blank: bool = False) -> Table:
    """Reads a file of comma-, semicolon-, tab- or space-separated values, packed with gzip or not.

    A first line that holds anything but numbers names the columns; lines that start with # before
    it are skipped. A blank line is a row without values; at the end of a file of several columns
    it is none. Millions of lines a second are read by numpy's own parser, which takes no more
    time on one core than pyarrow's and a third of the memory.

    Args:
        file: The file.
        skip_blank: Leave blank lines out, where no row has to stand at its place.

    Raises:
        DataError: The file is empty, its lines differ in their number of values, or two columns
            have one name.
    """
    try:
        return _read_csv(file, skip_blank)
    except (OSError, EOFError, zlib.error, csv.Error) as error:  # no archive, or one cut off
        raise DataError(f"cannot read {file} as CSV: {one_line(error)}") from error


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


def _read_csv(file: Path, skip_blank: bool) -> Table:
    num_skipped, first = _first_line(file)
    bare = _QUOTED.sub("", first)
    delimiter = next((mark for mark in "\t;," if mark in bare), None)
    cells = _cells(first, delimiter)
    has_header = _is_header(cells, first, file)
    names = cells if has_header else [str(column) for column in range(len(cells))]
    if len(cells) == 1 and not has_header and not skip_blank:
        num_skipped = _num_comments(file)  # blank lines above the first value are rows
    values = _load(file, num_skipped + has_header, delimiter, len(cells), skip_blank)
    if values.size:
        if values.shape[1] == len(names) + 1 and has_header and _is_empty(values[:, -1]):
            values = values[:, :-1]  # a separator behind the last value
        if values.shape[1] != len(names):
            raise DataError(
                f"{file} has {len(names)} names of columns and {values.shape[1]} columns of values"
            )
        if len(names) > 1 and cells[-1] == "" and _is_empty(values[:, -1]):
            names, values = names[:-1], values[:, :-1]
    values = values.reshape(-1, len(names))
    names = [name if name or not place else str(place) for place, name in enumerate(names)]
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise DataError(f"{file} has two columns named '{twice}'; rename one")
    return {name: _from_text(values[:, column]) for column, name in enumerate(names)}


def _load(
    file: Path, num_skipped: int, delimiter: str | None, num_columns: int, skip_blank: bool
) -> NDArray[Any]:
    """Returns the values as `[num_rows, num_columns]`: whole numbers, numbers, or text."""
    has_blank = not skip_blank and _has_blank_line(file)
    failure: ValueError | None = None
    for dtype in (np.int64, np.float64, np.str_):
        source: Path | Iterable[str] = file
        if has_blank:
            source = _filled_lines(file, num_skipped, (delimiter or " ").join(['""'] * num_columns))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # a header and no lines are no error
                return np.loadtxt(
                    source,
                    dtype=dtype,
                    delimiter=delimiter,
                    skiprows=0 if has_blank else num_skipped,
                    ndmin=2,
                    encoding="utf-8-sig",
                    quotechar='"',
                )
        except ValueError as error:
            failure = error
            if "number of columns changed" in str(error):
                break
    raise DataError(f"cannot read {file} as CSV: {one_line(failure)}") from failure


def _open(file: Path) -> IO[bytes]:
    return gzip.open(file) if file.suffix.lower() == ".gz" else file.open("rb")  # type: ignore[return-value]


def _text_lines(file: Path) -> Iterator[str]:
    # All ends of lines are read as \n, as numpy does.
    with io.TextIOWrapper(_open(file), encoding="utf-8-sig", errors="replace") as lines:
        yield from lines


def _has_blank_line(file: Path) -> bool:
    rest = b"\n"  # a blank first line follows no other
    with _open(file) as stream:
        while chunk := stream.read(_SCAN_BYTES):
            rest += chunk
            if _BLANK_LINE.search(rest):
                return True
            rest = rest[max(rest.rfind(b"\n"), rest.rfind(b"\r")) :]
    return False


def _filled_lines(file: Path, num_skipped: int, empty: str) -> Iterator[str]:
    """Yields the lines of a file, with empty values in those that are blank."""
    one_column, num_blank = empty == '""', 0
    for line in islice(_text_lines(file), num_skipped, None):
        if not line.strip():
            num_blank += 1
            continue
        yield from [empty] * num_blank
        num_blank = 0
        yield line
    if one_column:
        yield from [empty] * num_blank


def _first_line(file: Path) -> tuple[int, str]:
    """Returns the number of comment lines at the start and the first line after them."""
    for number, line in enumerate(_text_lines(file)):
        if line.strip() and not line.lstrip().startswith("#"):
            return number, line.rstrip("\r\n")
    raise DataError(f"{file} is empty; it must hold at least one line of values")


def _num_comments(file: Path) -> int:
    """Returns the number of lines up to the last comment above the values."""
    num_lines = 0
    for number, line in enumerate(_text_lines(file), start=1):
        if line.lstrip().startswith("#"):
            num_lines = number
        elif line.strip():
            break
    return num_lines


def _cells(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return [cell.strip('"') for cell in line.split()]
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]


def _is_header(cells: Sequence[str], line: str, file: Path) -> bool:
    """Tells whether the first line names the columns; says so where that is a guess."""
    filled = [cell for cell in cells if cell]
    numbers = [cell for cell in filled if _is_number(cell)]
    if not numbers:
        return bool(filled)
    counted = numbers == [str(number) for number in range(len(numbers))]
    if len(numbers) < len(filled):
        is_header, is_guess = True, not counted
    else:  # as pandas writes a table without names, alone or behind its index
        has_index = cells[0] == "" and len(cells) == len(filled) + 1
        is_header = is_guess = counted and (len(filled) > 2 or has_index)
    if is_guess:
        logger.warning(
            "the first line of %s, '%s', is read as names of columns; if it holds values, put a "
            "line of names above it",
            file,
            line.strip()[:80],
        )
    return is_header


def _is_number(cell: str) -> bool:
    if cell.lower() in (*MISSING, *_TRUTH):
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_empty(column: NDArray[Any]) -> bool:
    return column.dtype.kind == "U" and not np.char.str_len(np.char.strip(column)).any()


def _to_numpy(file: Path, name: str, column: Any) -> NDArray[Any]:
    """Turns an Arrow column into an array; missing numbers become NaN, missing names ''."""
    from pyarrow import types

    kind = column.type
    if types.is_dictionary(kind) and not _is_text(kind.value_type):
        column, kind = column.cast(kind.value_type), kind.value_type
    if _is_text(kind) or types.is_dictionary(kind):
        encoded = column if types.is_dictionary(kind) else column.dictionary_encode()
        encoded = encoded.unify_dictionaries().combine_chunks()
        words = encoded.dictionary.to_pylist()
        if encoded.null_count or None in words:
            words = ["" if word is None else word for word in (*words, None)]
        codes = encoded.indices.fill_null(len(words) - 1).to_numpy(zero_copy_only=False)
        named: NDArray[Any] = _from_text(np.array(words, dtype=np.str_))[codes]
        return named
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _rows_of_lists(file, name, column.combine_chunks())
    if types.is_null(kind):
        return np.full(len(column), np.nan)
    return _numbers(column)


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind))


def _numbers(column: Any) -> NDArray[Any]:
    """Turns an Arrow column or array of plain values into an array."""
    import pyarrow

    if pyarrow.types.is_boolean(column.type) and column.null_count:
        column = column.cast(pyarrow.int8())  # missing ones become NaN
    elif pyarrow.types.is_decimal(column.type):
        column = column.cast(pyarrow.float64())
    options = {} if isinstance(column, pyarrow.ChunkedArray) else {"zero_copy_only": False}
    array: NDArray[Any] = column.to_numpy(**options)
    return array


def _rows_of_lists(file: Path, name: str, lists: Any) -> NDArray[Any]:
    flat = _numbers(lists.flatten())
    sizes = lists.value_lengths().fill_null(-1).to_numpy(zero_copy_only=False)
    lengths = np.unique(sizes[sizes >= 0])
    if len(lengths) > 1:
        row = int(np.flatnonzero((sizes >= 0) & (sizes != lengths[-1]))[0])
        raise DataError(
            f"column '{name}' of {file} holds lists of {lengths[0]} to {lengths[-1]} values "
            f"({sizes[row]} in row {row}); every row must have the same number"
        )
    width = int(lengths[0]) if len(lengths) else 0
    rows = np.reshape(flat, (-1, width) if width else (int((sizes >= 0).sum()), 0))
    if len(rows) == len(lists):
        return rows
    whole = np.full((len(lists), width), np.nan)
    whole[sizes >= 0] = rows
    return whole


def _from_text(column: NDArray[Any]) -> NDArray[Any]:
    """Makes numbers of a column of text where all of it is numbers or truth values, or missing."""
    if column.dtype.kind != "U":
        return column
    column = np.char.strip(column)
    lower = np.char.lower(column)
    missing = np.isin(lower, MISSING)
    if (missing | np.isin(lower, _TRUTH)).all() and len(column):
        truth = np.asarray(lower == "true")
        return np.where(missing, np.nan, truth) if missing.any() else truth
    for dtype in (np.int64, np.float64):
        try:
            return np.where(missing, "nan", column).astype(dtype)
        except (ValueError, OverflowError):
            continue
    return column
