"""Starts the ranks of a job by a launcher, hands on what they print, and tells how one died."""

import os
import re
import select
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from gnnflow.errors import one_line
from gnnflow.launch.child_processes import JobCommand, end_with_parent, write_all
from gnnflow.launch.job_end import killed_line, launcher_line, say, warn
from gnnflow.launch.rank_board import BOARD_VARIABLE, RankBoard
from gnnflow.launch.rank_deaths import RankDeath, RankDeaths

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


class JobProcess:
    """A launcher as a child of this process."""

    def __init__(self, job: JobCommand) -> None:
        """Takes the launcher with its arguments and what it will start."""
        self._job = job
        self._interrupted = False

    def run(self) -> int:
        """Runs the job; prints one line on stderr if a rank was killed and none has said why.

        Returns:
            The exit code of the launcher, or 128 + N if signal N ended a rank.
        """
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        banner = BannerFilter()
        board = RankBoard(self._job.num_ranks)
        deaths = RankDeaths(board)
        try:
            process = subprocess.Popen(
                self._job.command,
                env={**self._job.environment, BOARD_VARIABLE: board.address},
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
        notes = [board.read(rank) for rank in range(self._job.num_ranks)]
        if returncode == 0 or self._interrupted or any(note.told for note in notes):
            return 128 - returncode if returncode < 0 else returncode
        if returncode < 0:
            say(launcher_line(Path(self._job.command[0]).name, -returncode, self._job.remedy))
            return 128 - returncode
        killed = next((death for death in deaths if death.signal != 0), None)
        if killed is None or (killed.signal is None and signal_in_banner is None):
            return returncode
        number = killed.signal or signal_in_banner
        assert number is not None
        step = notes[killed.rank].step
        say(killed_line(killed.rank, killed.pid, number, step, self._job.remedy))
        return 128 + number


def _begin_child(mask: set[int | signal.Signals]) -> None:
    """Lets the launcher have its signals, and end when this process is killed."""
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    end_with_parent(signal.SIGTERM)


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
