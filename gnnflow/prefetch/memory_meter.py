"""How much memory waits in the queues of the pipeline, and how much did so at most."""

import threading


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
