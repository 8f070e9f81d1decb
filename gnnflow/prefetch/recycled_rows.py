"""Memory for rows that are handed to the user, taken back when the user is done with them."""

import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

# Spare arrays that are kept; more are around only if the user holds many minibatches at once.
_KEPT = 8


class RecycledRows:
    """Makes arrays whose memory serves again once nothing refers to them.

    New memory for every minibatch costs more than the copy into it. Whoever holds an array, or a
    tensor over it, keeps its memory: nothing is overwritten under the user's hands.
    """

    def __init__(self) -> None:
        """Starts with no memory."""
        # Arrays end at any moment and in any thread, also while this thread is in `take`, so there
        # is no lock: operations of a deque are atomic.
        self._free: deque[npt.NDArray[np.uint8]] = deque(maxlen=_KEPT)

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
                return np.empty(num_bytes + num_bytes // 8, dtype=np.uint8)
            if slab.size >= num_bytes:
                return slab
