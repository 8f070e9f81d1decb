"""Memory of minibatches under way: counted, and taken back when the user is done with it."""

import threading
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


class MemoryMeter:
    """Adds up bytes that are held and let go, from any thread."""

    def __init__(self) -> None:
        """Starts with nothing held."""
        self._held_bytes = 0
        self._peak_bytes = 0
        # The garbage collector may end a loader, which gives memory back, within any call.
        self._lock = threading.RLock()

    @property
    def held_bytes(self) -> int:
        """Bytes held now."""
        return self._held_bytes

    @property
    def peak_bytes(self) -> int:
        """The most that were held at once."""
        return self._peak_bytes

    def add(self, num_bytes: int) -> None:
        """Notes bytes that are held from now on, or, if negative, no more."""
        with self._lock:
            self._held_bytes += num_bytes
            self._peak_bytes = max(self._peak_bytes, self._held_bytes)


# Spare arrays that are kept; more are around only if the user holds many minibatches at once.
_KEPT = 8


class RecycledRows:
    """Makes arrays whose memory serves again once nothing refers to them.

    New memory for every minibatch costs more than the copy into it. Whoever holds an array, or a
    tensor over it, keeps its memory: nothing is overwritten under the user's hands.
    """

    def __init__(self, *, pin_memory: bool = False) -> None:
        """Starts with no memory.

        Args:
            pin_memory: whether memory is page-locked, which a GPU copies from faster.
        """
        self._pin_memory = pin_memory
        # Arrays end at any moment and in any thread, also while this thread is in `take`, so there
        # is no lock: operations of a deque are atomic.
        self._free: deque[npt.NDArray[np.uint8]] = deque(maxlen=_KEPT)
        self._slabs: list[weakref.ref[npt.NDArray[np.uint8]]] = []
        self._peak_bytes = 0

    @property
    def peak_bytes(self) -> int:
        """The most memory that minibatches held at once, or that was kept for later ones."""
        return self._peak_bytes

    def take(self, shape: Sequence[int], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Returns an array of any content."""
        num_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if not num_bytes:
            return np.empty(shape, dtype=dtype)
        slab = self._spare(num_bytes)
        rows = slab[:num_bytes].view(dtype).reshape(shape)
        returns = weakref.finalize(rows, self._free.append, slab)
        returns.atexit = False
        return rows

    def _spare(self, num_bytes: int) -> npt.NDArray[np.uint8]:
        while True:
            try:
                slab = self._free.pop()
            except IndexError:
                # A little more than asked for, so that it fits most minibatches to come.
                return self._new_slab(num_bytes + num_bytes // 8)
            if slab.size >= num_bytes:
                return slab

    def _new_slab(self, num_bytes: int) -> npt.NDArray[np.uint8]:
        slab = self._allocate(num_bytes)
        slabs = [(known, known()) for known in self._slabs]
        self._slabs = [known for known, array in slabs if array is not None]
        self._slabs.append(weakref.ref(slab))
        alive = sum(array.nbytes for _, array in slabs if array is not None)
        self._peak_bytes = max(self._peak_bytes, alive + num_bytes)
        return slab

    def _allocate(self, num_bytes: int) -> npt.NDArray[np.uint8]:
        if not self._pin_memory:
            return np.empty(num_bytes, dtype=np.uint8)
        import torch  # replays of traces do without it

        return torch.empty(num_bytes, dtype=torch.uint8, pin_memory=True).numpy()
