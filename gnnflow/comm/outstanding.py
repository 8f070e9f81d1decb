"""MPI requests under way, and what to do when each is done."""

from collections.abc import Callable

from gnnflow.comm.mpi_library import MPI


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
