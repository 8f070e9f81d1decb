"""Notices at once when another rank of this machine ends although nobody told it to."""

import os
import select
from collections.abc import Mapping

_LOOK_EVERY_S = 2e-3


def process_space() -> str:
    """Names what gives processes their numbers: a machine, or a container on it."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


class Neighbours:
    """The processes of the other ranks on this machine, which all live until the job closes."""

    def __init__(self) -> None:
        """Knows none yet."""
        self._poll = select.poll()
        self._ranks: dict[int, int] = {}
        self._pids: dict[int, int] = {}
        self._next_look = 0.0

    def watch(self, pids: Mapping[int, int]) -> None:
        """Begins to watch processes, given by rank."""
        for rank, pid in pids.items():
            try:
                descriptor = os.pidfd_open(pid)
            except OSError:
                continue  # not a Linux that has it, or gone already: time-outs tell
            self._ranks[descriptor] = rank
            self._pids[rank] = pid
            self._poll.register(descriptor, select.POLLIN)

    def gone(self, now: float) -> dict[int, int]:
        """The processes that have ended, by rank, if it is time to look."""
        if not self._ranks or now < self._next_look:
            return {}
        self._next_look = now + _LOOK_EVERY_S
        ranks = [self._ranks[descriptor] for descriptor, _ in self._poll.poll(0)]
        return {rank: self._pids[rank] for rank in ranks}

    @property
    def ranks(self) -> frozenset[int]:
        """The ranks that are watched."""
        return frozenset(self._pids)

    def close(self) -> None:
        """Stops watching."""
        for descriptor in self._ranks:
            self._poll.unregister(descriptor)
            os.close(descriptor)
        self._ranks.clear()
