"""Features in fewer bits, as the files of a partition hold them."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gnnflow import _kernels
from gnnflow.datasets.row_source import RowSource
from gnnflow.errors import DataError

FeatureDtype = Literal["stored", "float16", "bfloat16", "int8"]

INT8_SCALED = "int8_scaled"
"""What the manifest calls rows of a float32 scale and then one signed byte for each number."""
SCALE_BYTES = 4
STORED_TYPES = ("float16", "float32", "float64", "bfloat16", INT8_SCALED)
"""What the manifest calls features that are floats."""

# Codes of the kernel that writes rows with fewer bits.
_BFLOAT16, _INT8 = 1, 2


class StoredRows:
    """Rows of a source, rounded to another type as they are read.

    NumPy has no bfloat16: such rows are uint16 with the upper half of each float32. A row of int8
    is uint8: its float32 scale, then its numbers, so that both move together wherever it goes.
    """

    def __init__(self, source: RowSource, feature_dtype: FeatureDtype) -> None:
        """Wraps the rows of a source.

        Args:
            source: `[num_rows, width]`, floats.
            feature_dtype: the type that they are rounded to.

        Raises:
            DataError: if the rows are not vectors of floats.
        """
        if source.dtype.kind != "f" or len(source.shape) != 2:
            raise DataError(
                f"features can be stored as {feature_dtype} if they are rows of floats, got "
                f"{source.dtype} {list(source.shape)}; leave out --feature-dtype"
            )
        self.source = source
        """The rows as they were."""
        self._type = feature_dtype

    @property
    def type_name(self) -> str:
        """What the manifest calls the type."""
        if self._type == "stored":
            return self.source.dtype.name
        return INT8_SCALED if self._type == "int8" else self._type

    @property
    def shape(self) -> tuple[int, ...]:
        """`[num_rows, width]`, for int8 with the bytes of the scale."""
        num_rows, width = self.source.shape
        return (num_rows, width + SCALE_BYTES if self._type == "int8" else width)

    @property
    def dtype(self) -> np.dtype[Any]:
        """How the file holds the numbers."""
        types: dict[str, npt.DTypeLike] = {
            "stored": self.source.dtype,
            "float16": np.float16,
            "bfloat16": np.uint16,
            "int8": np.uint8,
        }
        return np.dtype(types[self._type])

    def rows(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Returns the rows of `ids`, in that order, `[len(ids), *shape[1:]]`."""
        rows = self.source.rows(ids)
        if self._type == "stored":
            return rows
        if self._type == "float16":
            return _to_float16(rows)
        return to_stored(np.ascontiguousarray(rows, dtype=np.float32), self.type_name)


def to_stored(rows: npt.NDArray[np.float32], type_name: str) -> npt.NDArray[Any]:
    """Rounds rows to a type, as a file of a partition holds them.

    Args:
        rows: `[num_rows, width]`, contiguous.
        type_name: one of `STORED_TYPES`.
    """
    if type_name not in ("bfloat16", INT8_SCALED):
        with np.errstate(over="ignore"):
            return rows.astype(type_name)
    code, row_bytes = _BFLOAT16, 2 * rows.shape[1]
    if type_name == INT8_SCALED:
        code, row_bytes = _INT8, rows.shape[1] + SCALE_BYTES
    encoded = np.empty((len(rows), row_bytes), dtype=np.uint8)
    _kernels.encode_rows(encoded, rows, np.arange(len(rows)), code)
    return encoded if code == _INT8 else encoded.view(np.uint16)


def from_stored(
    rows: npt.NDArray[Any], type_name: str, num_threads: int = 1
) -> npt.NDArray[np.float32]:
    """Returns rows of a file of a partition as numbers, `[num_rows, width]`, contiguous.

    Args:
        rows: `[num_rows, ...]` as the file holds them.
        type_name: one of `STORED_TYPES`.
        num_threads: threads of the kernel.
    """
    if type_name == INT8_SCALED:
        return decode_int8(rows, num_threads)
    if type_name == "bfloat16":
        return (rows.astype(np.uint32) << 16).view(np.float32)
    return np.ascontiguousarray(rows, dtype=np.float32)


def decode_int8(rows: npt.NDArray[Any], num_threads: int = 1) -> npt.NDArray[np.float32]:
    """Returns uint8 rows of scaled int8 as numbers, float32 `[num_rows, width]`."""
    width = rows.shape[1] - SCALE_BYTES
    floats = np.empty((len(rows), width), dtype=np.float32)
    _kernels.decode_rows(
        floats,
        np.arange(len(rows)),
        np.ascontiguousarray(rows),
        _INT8,
        num_threads=num_threads,
    )
    return floats


def _to_float16(rows: npt.NDArray[Any]) -> npt.NDArray[np.float16]:
    with np.errstate(over="ignore"):
        halves = rows.astype(np.float16)
    if np.isinf(halves).any() and not np.isinf(rows).any():
        raise DataError(
            f"features reach {np.abs(rows).max():g}, beyond float16, which ends at 65504; "
            "use --feature-dtype bfloat16"
        )
    return halves
