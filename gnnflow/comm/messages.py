"""How requests and answers are written, and the memory that they are written into.

A message is a few integers, then arrays, in one run of bytes: int64 words `[kind, reply_tag,
num_params, num_arrays, params..., (dtype code, length) per array...]` and then the arrays, each
starting at a multiple of 8 bytes. New pages cost more than the copy into them, so memory is lent
and used again.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow.array_types import ByteArray

TAG_REQUEST = 1
TAG_FAILURE = 2
TAG_INQUIRY = 3
TAG_STATUS = 4
TAG_PART = 5
FIRST_REPLY_TAG = 16
NUM_REPLY_TAGS = 1 << 14  # MPI promises tags up to 32767
_DTYPES = tuple(np.dtype(name) for name in ("uint8", "int32", "int64", "float32", "float64"))
_CODES = {dtype: code for code, dtype in enumerate(_DTYPES)}
_WORD = 8
_FIXED_WORDS = 4
_MIN_BYTES = 1 << 12
_KEPT_PER_SIZE = 16


class BufferPool:
    """Lends byte arrays of any size; what is given back serves the next that fits.

    Sizes are rounded up to a power of two inside. Safe to use from several threads.
    """

    def __init__(self) -> None:
        """Starts with no memory."""
        self._free: dict[int, list[ByteArray]] = {}
        # The garbage collector may end a loader, which gives memory back, within any call.
        self._lock = threading.RLock()
        self._num_bytes = 0
        self._peak_bytes = 0

    @property
    def peak_bytes(self) -> int:
        """The most memory that it had at once, lent or not."""
        return self._peak_bytes

    def take(self, num_bytes: int) -> ByteArray:
        """Lends a uint8 array `[num_bytes]` of any content."""
        size = max(_MIN_BYTES, 1 << (num_bytes - 1).bit_length()) if num_bytes else _MIN_BYTES
        with self._lock:
            free = self._free.get(size)
            slab = free.pop() if free else None
            if slab is None:
                self._num_bytes += size
                self._peak_bytes = max(self._peak_bytes, self._num_bytes)
        if slab is None:
            slab = np.empty(size, dtype=np.uint8)
        return slab[:num_bytes]

    def give(self, buffer: npt.NDArray[np.generic]) -> None:
        """Takes a lent array back, or any view of it; nobody may use it afterwards."""
        slab = buffer.base
        assert isinstance(slab, np.ndarray) and slab.dtype == np.uint8
        with self._lock:
            free = self._free.setdefault(slab.size, [])
            if len(free) < _KEPT_PER_SIZE:
                free.append(slab)
            else:
                self._num_bytes -= slab.size


@dataclass(frozen=True, slots=True)
class Message:
    """What a run of bytes says; the arrays are views of it."""

    kind: int
    reply_tag: int
    params: tuple[int, ...]
    arrays: tuple[npt.NDArray[Any], ...]


def write_message(
    pool: BufferPool,
    kind: int,
    reply_tag: int,
    params: Sequence[int],
    arrays: Sequence[npt.NDArray[Any]],
) -> ByteArray:
    """Writes a message into a buffer of the pool.

    Args:
        pool: where the buffer comes from.
        kind: what the message is, as its sender and receiver agree.
        reply_tag: tag under which an answer is expected.
        params: integers of 64 bits.
        arrays: one-dimensional arrays of uint8, int32, int64, float32 or float64.

    Returns:
        uint8 `[num_bytes]`, lent by the pool.
    """
    header = [kind, reply_tag, len(params), len(arrays), *params]
    end = _WORD * (len(header) + 2 * len(arrays))
    starts = []
    for array in arrays:
        header += (_CODES[array.dtype], array.size)
        starts.append(end)
        end += _aligned(array.nbytes)
    buffer = pool.take(end)
    buffer[: _WORD * len(header)].view(np.int64)[:] = header
    for start, array in zip(starts, arrays, strict=True):
        buffer[start : start + array.nbytes].view(array.dtype)[:] = array
    return buffer


def read_message(buffer: ByteArray) -> Message:
    """Reads what `write_message` wrote; the arrays share the buffer's memory."""
    words = buffer[: buffer.size - buffer.size % _WORD].view(np.int64)
    kind, reply_tag, num_params, num_arrays = words[:_FIXED_WORDS].tolist()
    params_end = _FIXED_WORDS + num_params
    header_end = params_end + 2 * num_arrays
    numbers = words[_FIXED_WORDS:header_end].tolist()
    start = _WORD * header_end
    arrays = []
    for position in range(num_params, len(numbers), 2):
        dtype, length = _DTYPES[numbers[position]], numbers[position + 1]
        num_bytes = length * dtype.itemsize
        arrays.append(buffer[start : start + num_bytes].view(dtype))
        start += _aligned(num_bytes)
    return Message(kind, reply_tag, tuple(numbers[:num_params]), tuple(arrays))


def message_bytes(head: ByteArray) -> int:
    """Returns the length of a message from its first part, which holds all its words."""
    words = head[: head.size - head.size % _WORD].view(np.int64)
    num_params, num_arrays = words[2:_FIXED_WORDS].tolist()
    start = _FIXED_WORDS + num_params
    end = start + 2 * num_arrays
    codes, lengths = words[start:end:2].tolist(), words[start + 1 : end : 2].tolist()
    num_bytes: int = _WORD * end
    for code, length in zip(codes, lengths, strict=True):
        num_bytes += _aligned(length * _DTYPES[code].itemsize)
    return num_bytes


def message_parts(num_bytes: int, limit_bytes: int) -> list[tuple[int, int]]:
    """Cuts a run of bytes into parts `(start, end)` of at most `limit_bytes`, at least one."""
    starts = range(0, num_bytes, limit_bytes) if num_bytes else (0,)
    return [(start, min(start + limit_bytes, num_bytes)) for start in starts]


def _aligned(num_bytes: int) -> int:
    return -(-num_bytes // _WORD) * _WORD
