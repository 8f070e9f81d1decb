"""Tables with a row per vertex: rows go by position, or by a column of ids where there is one."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.datasets.array_kinds import are_whole
from gnnflow.errors import DataError
from gnnflow.files.array_file import is_table, open_arrays
from gnnflow.files.table_file import Table

logger = logging.getLogger(__name__)

ID_NAMES = (
    *("id", "ids", "idx", "index", "nid", "vid", "node", "vertex"),
    *("node_id", "nodeid", "node_idx", "node_index", "vertex_id", "vertexid"),
    *("", "unnamed: 0", "__index_level_0__"),  # the index of a table of pandas
)
"""Names, in small letters, of a column that says which vertex a row is of."""

_LIKE_AN_ID = re.compile(r"(?:.*[ _-])?(?:id|idx|index)")
_FIRST_LOOK = 4096


def open_vertex_arrays(
    file: Path,
    purpose: str,
    num_vertices: int | None,
    *,
    partial: bool = False,
    count: Callable[[], int] | None = None,
) -> Table:
    """Opens a file of rows of vertices; the rows of a table are put in the order of its ids.

    Args:
        file: A file as `open_arrays` takes it.
        purpose: What it holds, for messages.
        num_vertices: How many vertices there are; None if this file is to tell.
        partial: Whether a table of ids may leave vertices out, whose values then are missing.
        count: Tells how many vertices there are, where a table of ids leaves some out and
            `num_vertices` is None.

    Returns:
        The arrays by name, a column of ids left out.

    Raises:
        DataError: As `open_arrays`; or ids are no vertices or one is named twice, or a table
            without names of columns seems to begin with ids.
    """
    arrays = open_arrays(file, purpose)
    if not is_table(file):
        for name, array in arrays.items():
            if array.ndim == 2 and array.shape[1] > 1 and looks_like_ids(array[:, 0]):
                logger.warning(
                    "the first column of %s holds each of 0 to %d once, as ids of vertices do, and "
                    "is taken as one of the %s; leave it out if it is an id",
                    file if not name else f"'{name}' in {file}",
                    len(array) - 1,
                    purpose,
                )
        return arrays
    ids = _ids_of(arrays, file, purpose)
    if ids is None:
        arrays = _without_blank_end(arrays, num_vertices)
        has_names = list(arrays) != [str(place) for place in range(len(arrays))]
        if num_vertices == len(next(iter(arrays.values()))) - 1 and not has_names:
            raise DataError(
                f"the {purpose} file {file} has {num_vertices + 1} rows for {num_vertices} "
                "vertices; if its first line is the names of the columns, as pandas writes them, "
                "give them words or leave it out"
            )
        return arrays
    if num_vertices is None and count is not None and not looks_like_ids(arrays[ids]):
        num_vertices = count()
    return _by_id(arrays, ids, file, purpose, num_vertices, partial)


def looks_like_ids(column: NDArray[Any]) -> bool:
    """Tells whether a column holds each number from 0 to its length once, in any order."""
    size = len(column)
    if size < 3 or column.ndim != 1 or column.dtype.kind not in "iuf":
        return False
    for part in (column[:_FIRST_LOOK], column):  # most are told by a first look
        fits = (part >= 0) & (part < size)
        if not fits.all() or (part.dtype.kind == "f" and not are_whole(part).all()):
            return False
        if np.bincount(part.astype(np.int64)).max() > 1:
            return False
    return True


def _ids_of(columns: Table, file: Path, purpose: str) -> str | None:
    """Returns the name of the column of ids, None if there is none."""
    if len(columns) < 2:
        return None
    for name in columns:
        if name.strip().lower() in ID_NAMES:
            return name
    first = next(iter(columns))
    if not looks_like_ids(columns[first]):
        return None
    if _LIKE_AN_ID.fullmatch(first.strip().lower()):
        return first
    if first == "0":
        raise DataError(
            f"the first column of the {purpose} file {file} holds each of 0 to "
            f"{len(columns[first]) - 1} once, as ids of vertices do; name the columns in a first "
            "line, and that one 'id' if it is one"
        )
    logger.warning(
        "column '%s' of %s holds each of 0 to %d once, as ids of vertices do, and is taken as one "
        "of the %s; call it 'id' if it is one",
        *(first, file, len(columns[first]) - 1, purpose),
    )
    return None


def _by_id(
    columns: Table, name: str, file: Path, purpose: str, num_vertices: int | None, partial: bool
) -> Table:
    ids, where = columns[name], f"column '{name}' of the {purpose} file {file}"
    rest = {other: column for other, column in columns.items() if other != name}
    limit = len(ids) if num_vertices is None else num_vertices
    remedy = (
        "number the vertices from 0 without gaps, in the edges too, or give the column another "
        "name if it holds no ids"
    )
    wrong = np.ones(len(ids), dtype=np.bool_)
    if ids.ndim == 1 and ids.dtype.kind in "iuf":
        wrong = ~((ids >= 0) & (ids < limit))
        if ids.dtype.kind == "f":
            wrong |= ~are_whole(ids)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"{where} holds {ids[row]!s:.80} in row {row}, but ids of the {limit} vertices are 0 "
            f"to {limit - 1}; {remedy}"
        )
    rows = np.full(limit, -1, dtype=np.int64)
    places = ids.astype(np.int64)
    rows[places] = np.arange(len(ids))
    again = np.flatnonzero(rows[places] != np.arange(len(ids)))
    if len(again):
        vertex = int(places[again[0]])
        raise DataError(
            f"{where} names vertex {vertex} in the rows {again[0]} and {rows[vertex]}; keep one "
            "row for each vertex"
        )
    if len(ids) < limit and not partial:
        raise DataError(
            f"{where} names {len(ids)} of the {limit} vertices, and not {int(rows.argmin())}; add "
            "the missing rows"
        )
    if name.strip().lower() not in ID_NAMES:
        logger.warning("the rows of %s go by its column '%s', which holds ids", file, name)
    return {other: _taken(column, rows) for other, column in rest.items()}


def _taken(column: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """Returns the values of rows, missing where there is no row."""
    missing = rows < 0
    if not missing.any():
        return column[rows]
    if column.dtype.kind in "biuf":
        taken = np.full((len(rows), *column.shape[1:]), np.nan)
    else:
        taken = np.zeros((len(rows), *column.shape[1:]), dtype=column.dtype)
    taken[~missing] = column[rows[~missing]]
    return taken


def _without_blank_end(columns: Table, num_vertices: int | None) -> Table:
    """Leaves out rows beyond the last vertex that hold nothing: blank lines at the end."""
    if num_vertices is None:
        return columns
    for column in columns.values():
        beyond = column[num_vertices:]
        if not len(beyond) or not _holds_nothing(beyond):
            return columns
    return {name: column[:num_vertices] for name, column in columns.items()}


def _holds_nothing(values: NDArray[Any]) -> bool:
    if values.dtype.kind == "f":
        return bool(np.isnan(values).all())
    return values.dtype.kind == "U" and bool((values == "").all())
