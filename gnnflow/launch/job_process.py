"""Starts the ranks of a job by a launcher, hands on what they print, and tells how one died."""

import ctypes
import os
import re
import select
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gnnflow.errors import one_line
from gnnflow.launch.job_end import killed_line, launcher_line, say, warn
from gnnflow.launch.output_pump import write_all
from gnnflow.launch.rank_board import BOARD_VARIABLE, RankBoard

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


_OPENING = b"\n" + b"=" * 83 + b"\n=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES"
_LAST_LINE = b"Please see the FAQ page"
_SIGNAL = re.compile(rb"EXIT STRING: .*\(signal (\d+)\)")


class BannerFilter:
    """Lets bytes pass as they come, except for the launcher's banner.

    Only a line that may begin the banner is held back, so that a live line is seen at once.
    """

    def __init__(self) -> None:
        """Begins at the start of a line."""
        self._held = b""
        self._at_line_start = True
        self._in_banner = False
        self.signal: int | None = None
        """The signal that ended ranks, as far as a banner said so."""

    def feed(self, data: bytes) -> bytes:
        """Takes what was printed; returns what may be shown now."""
        data, self._held = self._held + data, b""
        shown = []
        while data:
            if self._at_line_start and not self._in_banner:
                self._in_banner = data.startswith(_OPENING)
                if not self._in_banner and _OPENING.startswith(data):
                    self._held = data
                    break
            line, end, rest = data.partition(b"\n")
            if self._in_banner and not end:
                self._held = data
                break
            if self._in_banner:
                if found := _SIGNAL.search(line):
                    self.signal = int(found[1])
                self._in_banner = not line.startswith(_LAST_LINE)
            else:
                shown.append(line + end)
            self._at_line_start = bool(end)
            data = rest
        return b"".join(shown)

    def finish(self) -> bytes:
        """Returns what was held back when the output ends."""
        return b"" if self._in_banner else self._held


_LOOK_FOR_RANKS_MS = 100
_PIPE_BYTES = 1 << 16
_HANDED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WATCHED: set[signal.Signals] = {*_HANDED_ON, signal.SIGCHLD}
# siginfo's code of signals from the kernel, as by Ctrl-C, which all processes of a terminal's
# foreground get.
_FROM_KERNEL = 0x80
_PR_SET_PDEATHSIG = 1


class JobProcess:
    """A launcher as a child of this process."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        num_ranks: int,
        *,
        remedy: str = "",
    ) -> None:
        """Takes what to run.

        Args:
            command: the launcher and its arguments.
            environment: its variables.
            num_ranks: how many ranks it will start.
            remedy: what a user may do after a rank was killed, in words.
        """
        self._command = list(command)
        self._environment = dict(environment)
        self._num_ranks = num_ranks
        self._remedy = remedy
        self._interrupted = False

    def run(self) -> int:
        """Runs the job; prints one line on stderr if a rank was killed and none has said why.

        Returns:
            The exit code of the launcher, or 128 + N if signal N ended a rank.
        """
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        banner = BannerFilter()
        board = RankBoard(self._num_ranks)
        deaths = RankDeaths(board)
        try:
            process = subprocess.Popen(
                self._command,
                env=self._environment | {BOARD_VARIABLE: board.address},
                stdout=subprocess.PIPE,
                preexec_fn=lambda: _begin_child(mask),
            )
            assert process.stdout is not None
            pump = threading.Thread(target=_pump, args=[process.stdout.fileno(), deaths, banner])
            pump.start()
            self._wait(process)
            pump.join()
            process.stdout.close()
            return self._tell(process.returncode, board, deaths.deaths, banner.signal)
        finally:
            deaths.close()
            board.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        """Waits for the end, handing on signals that only this process got."""
        while process.poll() is None:
            info = signal.sigwaitinfo(_WATCHED)
            if info.si_signo in _HANDED_ON:
                self._interrupted = True
                if info.si_code != _FROM_KERNEL:
                    process.send_signal(info.si_signo)

    def _tell(
        self,
        returncode: int,
        board: RankBoard,
        deaths: Sequence[RankDeath],
        signal_in_banner: int | None,
    ) -> int:
        notes = [board.read(rank) for rank in range(self._num_ranks)]
        if returncode == 0 or self._interrupted or any(note.told for note in notes):
            return 128 - returncode if returncode < 0 else returncode
        if returncode < 0:
            say(launcher_line(Path(self._command[0]).name, -returncode, self._remedy))
            return 128 - returncode
        killed = next((death for death in deaths if death.signal != 0), None)
        if killed is None or (killed.signal is None and signal_in_banner is None):
            return returncode
        number = killed.signal or signal_in_banner
        assert number is not None
        step = notes[killed.rank].step
        say(killed_line(killed.rank, killed.pid, number, step, self._remedy))
        return 128 + number


def _begin_child(mask: set[int | signal.Signals]) -> None:
    """Lets the launcher have its signals, and end when this process is killed."""
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _pump(source: int, deaths: RankDeaths, banner: BannerFilter) -> None:
    """Hands on what the job prints, and notes which ranks end, until there is no more of it."""
    poll = select.poll()
    poll.register(source, select.POLLIN)
    is_open = is_read = True
    while is_open:
        deaths.find_new(poll)
        for descriptor, _ in poll.poll(None if deaths.knows_all else _LOOK_FOR_RANKS_MS):
            if deaths.see(descriptor, poll):
                continue
            data = os.read(source, _PIPE_BYTES)
            shown = banner.feed(data) if data else banner.finish()
            is_open = bool(data)
            try:
                is_read = is_read and write_all(shown)
            except OSError as error:
                is_read = False
                warn(f"what the ranks printed cannot be written: {one_line(error.strerror)}")
