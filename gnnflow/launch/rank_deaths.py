"""Which rank of a job died first, and by what, as the process that started the job sees it."""

import os
import select
from dataclasses import dataclass
from pathlib import Path

from gnnflow.launch.rank_board import RankBoard

# Field 52 of /proc/PID/stat, counted behind the name in brackets, which is field 2.
_EXIT_CODE_FIELD = 52 - 3


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
