"""How many minibatches may be under way at once."""

import threading
from collections.abc import Callable

from gnnflow.prefetch.channel import ChannelClosed

_LOOK_EVERY_S = 0.002


class Gate:
    """Lets minibatches in as long as few are under way, or others say that there is room for more.

    One thread enters, another leaves; anybody may close.
    """

    def __init__(self, limit: int, may_exceed: Callable[[], bool] | None = None) -> None:
        """Opens the gate.

        Args:
            limit: Minibatches under way from which on no further ones may enter.
            may_exceed: Tells whether further ones may enter now; None for never.
        """
        self._limit = limit
        self._may_exceed = may_exceed
        self._num_inside = 0
        self._closed = False
        self._changed = threading.Condition()

    def enter(self, num: int) -> None:
        """Waits until there is room for some minibatches and counts them in.

        Raises:
            ChannelClosed: If it is closed.
        """
        with self._changed:
            while not self._closed and self._num_inside >= self._limit:
                if self._may_exceed is None:
                    self._changed.wait()
                elif self._may_exceed():
                    break
                else:
                    # Nobody tells when the link falls idle.
                    self._changed.wait(_LOOK_EVERY_S)
            if self._closed:
                raise ChannelClosed
            self._num_inside += num

    def leave(self) -> None:
        """Counts one out."""
        with self._changed:
            self._num_inside -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """Lets nobody in any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
