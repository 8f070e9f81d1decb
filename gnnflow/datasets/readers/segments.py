"""Vertex arrays that come in several tables, by part or by type of vertex, put together as one."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.datasets.array_kinds import LabelTask, labels_of
from gnnflow.datasets.raw_graph_checks import check_finite
from gnnflow.datasets.row_source import ArrayRows, RowSource
from gnnflow.datasets.split_file import SPLIT_ALIASES, mask_ids
from gnnflow.errors import DataError, did_you_mean

logger = logging.getLogger(__name__)

FEATURE_NAMES = ("x", "feat", "feats", "feature", "features")
"""Names under which other frameworks' users keep features."""
LABEL_NAMES = ("y", "label", "labels")
"""Names under which they keep labels."""

_NARROW = (np.dtype(np.float16), np.dtype(np.float32))


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """The arrays of consecutive rows."""

    where: str
    """Which rows these are, for messages."""
    num_rows: int
    """How many."""
    arrays: Mapping[str, NDArray[Any]]
    """Arrays of so many rows, by name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VertexArrays:
    """What a raw graph wants to know of its vertices."""

    arrays: dict[str, RowSource]
    """`x`, `y` and the others."""
    splits: dict[str, NDArray[np.int64]]
    """Vertex ids of `train`, `val` and `test`, as far as they are there."""
    num_classes: int
    """Number of classes of `y`."""


class SegmentedRows:
    """The rows of several arrays, one behind the other, read on demand."""

    def __init__(self, arrays: Sequence[NDArray[Any]], dtype: np.dtype[Any] | None = None) -> None:
        """Takes arrays whose rows have the same shape, at least one.

        Args:
            arrays: The rows, which may be memory-mapped.
            dtype: Type that rows are cast to as they are read, by default the common type.
        """
        self.segments = tuple(arrays)
        self._dtype = np.result_type(*arrays) if dtype is None else dtype
        self._ends = np.cumsum([len(array) for array in arrays])

    @property
    def shape(self) -> tuple[int, ...]:
        """`[num_rows, ...]`."""
        return (int(self._ends[-1]), *self.segments[0].shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type of the rows."""
        return self._dtype

    def rows(self, ids: NDArray[np.int64]) -> NDArray[Any]:
        """Returns the rows of `ids`, in that order, as `[len(ids), ...]`."""
        owner = np.searchsorted(self._ends, ids, side="right")
        taken = np.empty((len(ids), *self.shape[1:]), dtype=self._dtype)
        for number in np.unique(owner):
            array = self.segments[number]
            mine = owner == number
            taken[mine] = array[ids[mine] - (self._ends[number] - len(array))]
        return taken


def vertex_arrays(
    segments: Sequence[Segment],
    *,
    features: str | None = None,
    labels: str | None = None,
    task: LabelTask = "auto",
) -> VertexArrays:
    """Puts the arrays of all segments together.

    Features must be in every segment or in none. A vertex whose segment has no labels has no
    label, one whose segment has no mask of a split is not in it. Other arrays that are not in
    every segment, or have rows of another shape in some, are left out, and a warning says so.

    Args:
        segments: All vertices, in the order of their ids.
        features: Name of the array that holds features, by default one of `FEATURE_NAMES`.
        labels: Name of the array that holds labels, by default one of `LABEL_NAMES`.
        task: What labels are.

    Raises:
        DataError: A named array is missing, features differ in width, or an array has not one
            row per vertex.
    """
    names: dict[str, None] = {}
    for segment in segments:
        for name, array in segment.arrays.items():
            names[name] = None
            if not array.shape or len(array) != segment.num_rows:
                raise DataError(
                    f"'{name}' of {segment.where} must have {segment.num_rows} rows, "
                    f"one per vertex, got shape {list(array.shape)}"
                )
    features = _choose("features", features, FEATURE_NAMES, names)
    labels = _choose("labels", labels, LABEL_NAMES, names)
    arrays: dict[str, RowSource] = {}
    num_classes = 0
    if features is not None:
        arrays["x"] = _feature_rows(segments, features)
    if labels is not None:
        y, num_classes = _labels(segments, labels, task)
        arrays["y"] = ArrayRows(y)
    masks = {split: name for name in names if (split := _split_of(name)) is not None}
    splits: dict[str, NDArray[np.int64]] = {
        split: _masked(segments, masks[split])
        for split in ("train", "val", "test")
        if split in masks
    }
    for name in names:
        if name in (features, labels, *masks.values()):
            continue
        kept = plain_name(name)
        if kept in arrays:
            logger.warning(
                "leaving out the array '%s': another one is kept under the name '%s'", name, kept
            )
        elif (rows := common_rows(segments, name)) is not None:
            arrays[kept] = rows
    return VertexArrays(arrays=arrays, splits=splits, num_classes=num_classes)


def common_rows(segments: Sequence[Segment], name: str) -> SegmentedRows | None:
    """Returns the rows of an array that all segments hold alike; else None, with a warning."""
    found = [segment.arrays[name] for segment in segments if name in segment.arrays]
    if len(found) < len(segments) or len({array.shape[1:] for array in found}) > 1:
        logger.warning(
            "leaving out the array '%s': it is not in all types or parts, or not alike there", name
        )
        return None
    return SegmentedRows(found)


def plain_name(name: str) -> str:
    """Returns a name that a file can have, of letters, digits and underscores."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return plain if plain[:1].isalpha() else f"a{plain}"


def _choose(
    what: str, wanted: str | None, usual: tuple[str, ...], names: Mapping[str, None]
) -> str | None:
    if wanted is None:
        return next((name for name in usual if name in names), None)
    if wanted not in names:
        hint = did_you_mean(wanted, names)
        raise DataError(
            f"no array is named '{wanted}'{hint} (there are {', '.join(names) or 'none'}); "
            f"name the one that holds {what} with --{what}"
        )
    return wanted


def _split_of(name: str) -> str | None:
    return SPLIT_ALIASES.get(name.removesuffix("_mask"))


def _feature_rows(segments: Sequence[Segment], name: str) -> SegmentedRows:
    shapes: dict[tuple[int, ...], str] = {}
    for segment in segments:
        if name not in segment.arrays:
            raise DataError(
                f"{segment.where} has no features '{name}', others have; give all types of "
                "vertices features of one width, for example learnt embeddings"
            )
        array = segment.arrays[name]
        check_finite(f"{name} of {segment.where}", array)
        shapes.setdefault(array.shape[1:], segment.where)
    if len(shapes) > 1:
        widths = ", ".join(f"{list(shape)} in {where}" for shape, where in shapes.items())
        raise DataError(
            f"features '{name}' have different widths: {widths}; project or pad them to one width"
        )
    arrays = [segment.arrays[name] for segment in segments]
    if len(next(iter(shapes))) == 0:
        arrays = [array.reshape(-1, 1) for array in arrays]
    common = np.result_type(*arrays)
    return SegmentedRows(arrays, common if common in _NARROW else np.dtype(np.float32))


def _labels(segments: Sequence[Segment], name: str, task: LabelTask) -> tuple[NDArray[Any], int]:
    found = [segment.arrays[name] for segment in segments if name in segment.arrays]
    row_shape, dtype = found[0].shape[1:], np.result_type(*found)
    if any(array.shape[1:] != row_shape for array in found):
        raise DataError(f"labels '{name}' have rows of different shapes; give them one shape")
    several = bool(row_shape) and row_shape != (1,)
    if len(found) < len(segments):
        if several or task == "regression":
            dtype = np.result_type(dtype, np.float32)  # to hold NaN
        elif dtype.kind in "bu":
            dtype = np.dtype(np.int64)  # to hold -1
    none = -1 if dtype.kind in "iu" else np.nan
    pieces = [
        segment.arrays.get(name, np.full((segment.num_rows, *row_shape), none, dtype=dtype))
        for segment in segments
    ]
    return labels_of(np.concatenate(pieces), f"the array '{name}'", task)


def _masked(segments: Sequence[Segment], name: str) -> NDArray[np.int64]:
    ids, first_id = [], 0
    for segment in segments:
        mask = segment.arrays.get(name)
        if mask is not None:
            if mask.ndim == 2 and mask.shape[1] == 1:
                mask = mask[:, 0]
            if mask.ndim != 1:
                raise DataError(
                    f"{name} has shape {list(mask.shape)}: several splits in {segment.where}; "
                    f"choose one, as data.{name} = data.{name}[:, 0]"
                )
            ids.append(first_id + mask_ids(mask, f"'{name}' of {segment.where}"))
        first_id += segment.num_rows
    return np.concatenate(ids)
