"""Sending and receiving runs of bytes between ranks, never waiting, and the MPI requests under way.

All of it is used by one thread.
"""

from collections.abc import Callable

import numpy as np

from gnnflow.array_types import ByteArray
from gnnflow.comm.messages import TAG_PART, TAG_REQUEST, BufferPool, message_bytes, message_parts
from gnnflow.comm.mpi_library import MPI

Handler = Callable[[int, int, ByteArray], None]
"""Takes the source, the tag and the bytes of a message that arrived."""

# A short message has arrived whole when it shows up: taking it at once saves a round of the loop.
_SHORT_BYTES = 1 << 13


class Outstanding:
    """A set of MPI requests that is tested as one, by one thread."""

    def __init__(self) -> None:
        """Starts empty."""
        self._requests: list[MPI.Request] = []
        self._callbacks: list[Callable[[], None]] = []

    def __len__(self) -> int:
        """Number of requests that are not done."""
        return len(self._requests)

    def add(self, request: MPI.Request, when_done: Callable[[], None]) -> None:
        """Adds a request and what to call once it is done."""
        self._requests.append(request)
        self._callbacks.append(when_done)

    def advance(self) -> bool:
        """Calls what is due for the requests that are done; says whether there were any."""
        if not self._requests:
            return False
        done = MPI.Request.Testsome(self._requests)
        if not done:
            return False
        callbacks = [self._callbacks[position] for position in done]
        for position in sorted(done, reverse=True):
            last_request, last_callback = self._requests.pop(), self._callbacks.pop()
            if position < len(self._requests):
                self._requests[position] = last_request
                self._callbacks[position] = last_callback
        for callback in callbacks:
            callback()
        return True


class Mailbox:
    """Messages of a communicator: found when they arrive, kept in buffers of a pool."""

    def __init__(self, comm: MPI.Intracomm, pool: BufferPool, limit_bytes: int) -> None:
        """Takes the communicator, for this object alone.

        Args:
            comm: whom to talk to.
            pool: where the buffers of arriving messages come from.
            limit_bytes: longer messages are sent in parts; MPI counts bytes with 31 bits.
        """
        self._comm = comm
        self._pool = pool
        self._limit_bytes = limit_bytes
        self._status = MPI.Status()
        self.outstanding = Outstanding()

    def send_message(self, message: ByteArray, peer: int, tag: int) -> None:
        """Sends a buffer of the pool that `write_message` filled, and then gives it back."""
        parts = message_parts(message.size, self._limit_bytes)
        when_sent = _AfterAll(len(parts), lambda: self._pool.give(message))
        for start, end in parts:
            self.send_bytes(message[start:end], peer, TAG_PART if start else tag, when_sent)

    def send_bytes(
        self, data: ByteArray, peer: int, tag: int, when_sent: Callable[[], None]
    ) -> None:
        """Sends bytes that stay unchanged until `when_sent` is called."""
        self.outstanding.add(self._comm.Isend(data, peer, tag), when_sent)

    def receive_bytes(
        self, into: ByteArray, peer: int, tag: int, when_received: Callable[[], None]
    ) -> None:
        """Receives bytes of known size under a tag that no other message has."""
        self.outstanding.add(self._comm.Irecv(into, peer, tag), when_received)

    def receive_message(self, handle: Handler) -> bool:
        """Takes one message that has arrived and was not announced, if there is one.

        Args:
            handle: called with the whole message, now or in a later `outstanding.advance`.

        Returns:
            Whether there was one.
        """
        status = self._status
        found = self._comm.Improbe(MPI.ANY_SOURCE, MPI.ANY_TAG, status)
        if found is None:
            return False
        source, tag, size = status.Get_source(), status.Get_tag(), status.Get_count(MPI.BYTE)
        buffer = self._pool.take(size)
        may_go_on = size == self._limit_bytes and (tag == TAG_REQUEST or tag > TAG_PART)
        if size > _SHORT_BYTES and not may_go_on:
            self.outstanding.add(found.Irecv(buffer), lambda: handle(source, tag, buffer))
            return True
        found.Recv(buffer)
        if may_go_on and message_bytes(buffer) > size:
            self._receive_rest(source, tag, buffer, handle)
        else:
            handle(source, tag, buffer)
        return True

    def _receive_rest(self, source: int, tag: int, head: ByteArray, handle: Handler) -> None:
        """Receives the other parts of a long message.

        They follow from the same rank in order, so their receives must be posted before the next
        probe, which would take them for messages of their own.
        """
        whole = self._pool.take(message_bytes(head))
        np.copyto(whole[: head.size], head)
        self._pool.give(head)
        parts = message_parts(whole.size, self._limit_bytes)[1:]
        when_received = _AfterAll(len(parts), lambda: handle(source, tag, whole))
        for start, end in parts:
            self.receive_bytes(whole[start:end], source, TAG_PART, when_received)


class _AfterAll:
    """Acts when it was called as often as there are parts."""

    def __init__(self, num_parts: int, action: Callable[[], None]) -> None:
        self._left = num_parts
        self._action = action

    def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._action()
