"""What rows look like between ranks: in parts, as stored or shorter at some cost in precision."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gnnflow import _kernels
from gnnflow.array_types import ByteArray
from gnnflow.errors import ConfigError

WireDtype = Literal["stored", "bfloat16", "int8"]
WIRE_DTYPES: tuple[WireDtype, ...] = ("stored", "bfloat16", "int8")

_BFLOAT16, _INT8 = 1, 2
_SCALE_BYTES = 4
# Rows travel in parts: the owner gathers one while the one before is on its way, and a part stays
# in the processor's cache between gathering and sending.
PART_BYTES = 2 << 20


class Wire:
    """Turns rows into what is sent and back.

    `bfloat16` halves float32 rows (8 bits of precision); `int8` sends a float32 scale and one byte
    a number (an error of up to 1/254 of the row's largest magnitude). Other rows go as stored. Rows
    that join several vectors are cut into pieces, each with a scale of its own.
    """

    def __init__(self, code: int, pieces: int = 1) -> None:
        """Takes the number that says how, and of how many pieces of one width a row is."""
        self.code = code
        self.pieces = pieces

    @property
    def params(self) -> tuple[int, ...]:
        """What questions carry, so that both sides agree."""
        return (self.code,) if self.pieces == 1 else (self.code, self.pieces)

    @classmethod
    def choose(
        cls,
        wire_dtype: WireDtype,
        dtype: np.dtype[Any],
        row_shape: tuple[int, ...],
        pieces: int = 1,
    ) -> "Wire":
        """Returns how rows of a type travel: only float32 vectors are converted.

        Raises:
            ConfigError: if there is no such wire type.
        """
        if wire_dtype not in WIRE_DTYPES:
            known = ", ".join(WIRE_DTYPES)
            raise ConfigError(f"wire_dtype must be one of {known}, got {wire_dtype!r}")
        converts = dtype == np.float32 and len(row_shape) > 0
        return cls(WIRE_DTYPES.index(wire_dtype) if converts else 0, pieces)

    def row_bytes(self, stored_bytes: int) -> int:
        """Returns the bytes of a row on the way, from those of a row as stored."""
        if self.code == _BFLOAT16:
            return stored_bytes // 2
        if self.code == _INT8:
            return stored_bytes // 4 + self.pieces * _SCALE_BYTES
        return stored_bytes

    def gather(
        self,
        out: ByteArray,
        source: npt.NDArray[Any],
        rows: npt.NDArray[np.int64],
        num_threads: int,
    ) -> None:
        """Writes rows for the way.

        Args:
            out: uint8 `[num_rows, row_bytes]`.
            source: `[num_source_rows, ...]`, contiguous.
            rows: int64 `[num_rows]`: which rows of the source.
            num_threads: threads of the kernel.
        """
        if self.code:
            _kernels.encode_rows(
                self._cut(out),
                self._cut(source),
                self._rows_of_pieces(rows),
                self.code,
                num_threads=num_threads,
            )
        else:
            _kernels.gather(out, source, rows, num_threads=num_threads)

    def place(
        self,
        out: npt.NDArray[Any],
        positions: npt.NDArray[np.int64],
        received: ByteArray,
        num_threads: int,
    ) -> None:
        """Puts rows that arrived where they belong.

        Args:
            out: `[num_out_rows, ...]`, contiguous.
            positions: int64 `[num_rows]`: row of `out` for each row that arrived.
            received: uint8 `[num_rows, row_bytes]`.
            num_threads: threads of the kernel.
        """
        if self.code:
            _kernels.decode_rows(
                self._cut(out),
                self._rows_of_pieces(positions),
                self._cut(received),
                self.code,
                num_threads=num_threads,
            )
        else:
            _kernels.place_rows(out, positions, received, num_threads=num_threads)

    def _cut(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        width = int(np.prod(rows.shape[1:], dtype=np.int64))
        return rows.reshape(len(rows) * self.pieces, width // self.pieces)

    def _rows_of_pieces(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        if self.pieces == 1:
            return rows
        return (rows[:, np.newaxis] * self.pieces + np.arange(self.pieces)).reshape(-1)


def rows_per_part(row_bytes: int) -> int:
    """Returns how many rows the owner sends in one part, from their bytes on the way."""
    return max(1, PART_BYTES // row_bytes)
