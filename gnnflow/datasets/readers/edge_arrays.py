"""What a raw graph has of its edges, attributes and weights, from all that others keep."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.datasets.array_kinds import as_float32
from gnnflow.datasets.raw_graph_checks import check_weights
from gnnflow.datasets.readers.segments import Segment, SegmentedRows, common_rows
from gnnflow.errors import DataError
from gnnflow.files.array_sink import ArraySink

logger = logging.getLogger(__name__)

EDGE_ARRAY_NAMES = ("edge_attr", "feat", "feats", "w", "weight", "edge_weight")
"""Names under which users of other frameworks keep attributes of edges."""
EDGE_WEIGHT_NAME = "edge_weight"
"""The name under which users of PyG keep weights of edges."""


def choose_edge_array(
    segments: Sequence[Segment],
    type_numbers: Sequence[int],
    folder: Path | None,
    *,
    num_types: int,
) -> NDArray[Any] | None:
    """Returns the attributes of the edges: one of the usual names, or the only array there is.

    Edges of several types get the number of their type: alone where they have no attributes,
    else as a last column.

    Args:
        segments: All edges, in the order of their ids.
        type_numbers: The type of each segment.
        folder: Where to put the array if it is to be a file.
        num_types: Number of types.

    Returns:
        `[num_edges, ...]`, or None if there is nothing to tell edges apart.

    Raises:
        DataError: An array has not one row per edge.
    """
    names = list(dict.fromkeys(name for segment in segments for name in segment.arrays))
    usual = [name for name in EDGE_ARRAY_NAMES if name in names]
    rows = None
    if usual or len(names) == 1:
        chosen = (usual or names)[0]
        rows = common_rows(segments, chosen)
        names.remove(chosen)
        if chosen != EDGE_ARRAY_NAMES[0]:
            logger.info("the edge array '%s' is kept as 'edge_attr'", chosen)
    if names:
        logger.warning(
            "leaving out the edge arrays %s: edges have one of attributes; put what is needed into "
            "'edge_attr'",
            ", ".join(names),
        )
    if rows is None:
        if num_types == 1:
            return None
        numbers = np.array(type_numbers, dtype=np.int64)
        return np.repeat(numbers, [segment.num_rows for segment in segments])
    for segment, array in zip(segments, rows.segments, strict=True):
        if len(array) != segment.num_rows:
            raise DataError(
                f"an edge array of {segment.where} has {len(array)} rows, the edges are "
                f"{segment.num_rows}; the file belongs to another partition"
            )
    if num_types > 1:
        return _with_types(segments, rows, type_numbers, folder)
    row_size = int(np.prod(rows.shape[1:], dtype=np.int64))
    with ArraySink(rows.shape, narrowed(rows.dtype), _file(folder)) as sink:
        done = 0
        for array in rows.segments:
            sink.write(done * row_size, narrow(array))
            done += len(array)
        return sink.array()


def choose_edge_weights(segments: Sequence[Segment]) -> NDArray[Any] | None:
    """Returns the numbers of all edges by which samplers may draw them, if there are any.

    Weights need not be meant for that, so those that cannot be drawn by are no error.

    Args:
        segments: All edges, in the order of their ids.
    """
    if not all(EDGE_WEIGHT_NAME in segment.arrays for segment in segments):
        return None
    parts = []
    for segment in segments:
        array = segment.arrays[EDGE_WEIGHT_NAME]
        parts.append(array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array)
    if any(part.shape != (each.num_rows,) for part, each in zip(parts, segments, strict=True)):
        return None
    weights = np.concatenate(parts)
    try:
        check_weights(weights, len(weights))
    except DataError as error:
        logger.warning("'%s' is not kept as weights to draw by: %s", EDGE_WEIGHT_NAME, error)
        return None
    logger.info("the edge array '%s' is kept as weights to draw by", EDGE_WEIGHT_NAME)
    return as_float32(weights)


def _with_types(
    segments: Sequence[Segment],
    rows: SegmentedRows,
    type_numbers: Sequence[int],
    folder: Path | None,
) -> NDArray[Any]:
    width = int(np.prod(rows.shape[1:], dtype=np.int64)) + 1
    dtype = np.result_type(narrowed(rows.dtype), np.float32)
    with ArraySink((rows.shape[0], width), dtype, _file(folder)) as sink:
        done = 0
        for segment, array, number in zip(segments, rows.segments, type_numbers, strict=True):
            columns = narrow(array).reshape(segment.num_rows, -1)
            kinds = np.full((segment.num_rows, 1), number, dtype=dtype)
            sink.write(done * width, np.hstack([columns, kinds], dtype=dtype))
            done += segment.num_rows
        return sink.array()


def narrow(array: NDArray[Any]) -> NDArray[Any]:
    """Returns attributes of edges as they are kept: floats wider than float32 as float32."""
    return array if narrowed(array.dtype) == array.dtype else as_float32(array)


def narrowed(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Returns the type in which attributes of edges of a type are kept."""
    return np.dtype(np.float32) if dtype.kind == "f" and dtype.itemsize > 4 else dtype


def _file(folder: Path | None) -> Path | None:
    return None if folder is None else folder / "edge-attr.npy"
