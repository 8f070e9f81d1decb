"""A queue between two threads that either side can end at any time."""

import threading
from collections import deque
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


class ChannelClosed(Exception):  # noqa: N818 (no error, the way in which a stage learns to stop)
    """Somebody closed the channel: nothing more is wanted."""


class Channel(Generic[ItemT]):
    """A bounded queue with an end, an error, and a way to call everything off.

    The sender ends it with `finish`, after which the receiver gets what is left and then
    StopIteration or the sender's error. `close` calls it off: both sides get `ChannelClosed`, also
    those that wait at that moment.
    """

    def __init__(self, size: int | None = None) -> None:
        """Makes an empty channel for at most `size` items, or for any number."""
        self._size = size
        self._items: deque[ItemT] = deque()
        self._finished = False
        self._error: BaseException | None = None
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: ItemT) -> None:
        """Adds an item, waiting for room.

        Raises:
            ChannelClosed: If it is called off.
        """
        with self._changed:
            self._changed.wait_for(self._has_room)
            if self._closed:
                raise ChannelClosed
            self._items.append(item)
            self._changed.notify_all()

    def get(self) -> ItemT:
        """Takes the oldest item, waiting for one.

        Raises:
            StopIteration: If there is none and never will be.
            ChannelClosed: If it is called off.
        """
        with self._changed:
            self._changed.wait_for(self._has_news)
            if self._closed:
                raise ChannelClosed
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if self._error is not None:
                raise self._error
            raise StopIteration

    def finish(self, error: BaseException | None = None) -> None:
        """Ends it after what was put, with an error for the receiver if one is given."""
        with self._changed:
            self._finished = True
            self._error = error
            self._changed.notify_all()

    def close(self) -> None:
        """Calls it off for both sides."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()

    def _has_room(self) -> bool:
        return self._closed or self._size is None or len(self._items) < self._size

    def _has_news(self) -> bool:
        return self._closed or self._finished or bool(self._items)
