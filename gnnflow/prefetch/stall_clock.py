"""How long training waits: what its loop knows, handed to the thread that plans minibatches."""

import threading


class StallClock:
    """Adds up seconds in one thread until another takes them."""

    def __init__(self) -> None:
        """Starts at nothing."""
        self._lock = threading.Lock()
        self._stall_s = 0.0
        self._elapsed_s = 0.0

    def add(self, stall_s: float, elapsed_s: float) -> None:
        """Notes a step of training.

        Args:
            stall_s: Seconds that it waited for its minibatch.
            elapsed_s: Seconds that it took altogether, the waiting included.
        """
        with self._lock:
            self._stall_s += stall_s
            self._elapsed_s += elapsed_s

    def take(self) -> tuple[float, float]:
        """Returns the sums of `stall_s` and `elapsed_s` since they were last taken."""
        with self._lock:
            taken = self._stall_s, self._elapsed_s
            self._stall_s = self._elapsed_s = 0.0
        return taken
