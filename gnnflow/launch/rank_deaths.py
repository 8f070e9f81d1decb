"""Notices at once when a rank of this machine ends, in processes that are not its parent.

The launcher's parent follows all ranks to tell which one ended first; a rank follows the others to
tell that one ended although nobody told it to.
"""

import os
import select
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gnnflow.launch.rank_board import RankBoard

# Field 52 of /proc/PID/stat, counted behind the name in brackets, which is field 2.
_EXIT_CODE_FIELD = 52 - 3
_LOOK_EVERY_S = 2e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class RankDeath:
    """The end of a rank's process."""

    rank: int
    pid: int
    signal: int | None
    """The signal that ended it, 0 if none did; None if that could not be found out."""


class RankDeaths:
    """Follows the processes of the ranks on this machine by file descriptors of theirs.

    A launcher that notices a dead rank kills the others, and says of any of them that it was the
    bad one; so the order of the ends has to be seen as it happens.
    """

    def __init__(self, board: RankBoard) -> None:
        """Takes the board on which ranks note their processes."""
        self._board = board
        self._pids: dict[int, int] = {}
        self._descriptors: dict[int, int] = {}
        self.deaths: list[RankDeath] = []
        """In the order in which they were seen."""

    def find_new(self, poll: select.poll) -> None:
        """Begins to follow ranks that have noted their process since."""
        for rank in range(self._board.num_ranks):
            pid = self._board.read(rank).pid
            if not pid or rank in self._pids:
                continue
            self._pids[rank] = pid
            try:
                descriptor = os.pidfd_open(pid)
            except OSError:
                self.deaths.append(RankDeath(rank=rank, pid=pid, signal=None))
                continue
            self._descriptors[descriptor] = rank
            poll.register(descriptor, select.POLLIN)

    @property
    def knows_all(self) -> bool:
        """Whether every rank has noted its process."""
        return len(self._pids) == self._board.num_ranks

    def see(self, descriptor: int, poll: select.poll) -> bool:
        """Notes an end if a descriptor that is ready belongs to a rank; says whether it does."""
        if descriptor not in self._descriptors:
            return False
        rank = self._descriptors.pop(descriptor)
        pid = self._pids[rank]
        self.deaths.append(RankDeath(rank=rank, pid=pid, signal=_signal_of(pid)))
        poll.unregister(descriptor)
        os.close(descriptor)
        return True

    def close(self) -> None:
        """Lets go of the processes that have not ended."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()


def _signal_of(pid: int) -> int | None:
    """The signal that ended a process which its parent has not asked about yet."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[_EXIT_CODE_FIELD]) & 0x7F if fields[0] == "Z" else None
    except (OSError, IndexError, ValueError):
        return None


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
