"""Memory for messages, used again and again: new pages cost more than the copy into them."""

import threading

import numpy as np
import numpy.typing as npt

from gnnflow.array_types import ByteArray

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
