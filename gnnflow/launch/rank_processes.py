"""Starts the ranks of a job on this machine, without a launcher between, and sees how each ends.

MPICH's own launcher listens on every network of the machine for any job, says many lines when a
rank dies, and calls any rank the bad one. On one machine ranks need a socket each to whoever
started them, and no port.
"""

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from gnnflow.errors import CommError, one_line
from gnnflow.launch.child_processes import JobCommand, OutputPump, end_with_parent
from gnnflow.launch.job_end import early_line, killed_line, mpich_memory_of, name_of, say, warn
from gnnflow.launch.process_manager import ProcessManager
from gnnflow.launch.rank_board import BOARD_VARIABLE, RankBoard

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Ranks fail for the same reason at about the same time, and the last one may be the one to speak.
_SETTLE_S = 2.0
# A rank that is asked to end has this long; then it is killed.
_GRACE_S = 5.0
# A rank that has said why the job ends does end it, or is stuck on the way.
_TOLD_GRACE_S = 15.0
_LOOK_EVERY_S = 1.0
_CHUNK_BYTES = 1 << 16
# What another launcher, of whose job this process may be, tells its ranks.
_FOREIGN = ("PMI_", "PMIX_", "OMPI_", "PRTE_", "HYDI_", "MPI_LOCAL")


class RankProcesses:
    """The ranks of a job on this machine, as children of this process."""

    def __init__(self, job: JobCommand) -> None:
        """Takes what each rank runs."""
        self._job = job
        self._environment = {
            name: value for name, value in job.environment.items() if not name.startswith(_FOREIGN)
        }
        self._board = RankBoard(job.num_ranks)
        self._manager = ProcessManager(job.num_ranks, self._send)
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._exit_code: int | None = None
        self._asked_to_end: int | None = None
        self._kill_at: float | None = None
        self._memory: set[str] = set()

    def run(self) -> int:
        """Runs the job; says on one line of stderr why it ended, if no rank has.

        Returns:
            0 if all ranks ended well; else the exit code of the first that did not, 128 + N if
            signal N ended it, or ended this process.
        """
        try:
            with _signals() as signals:
                self._listen(signals, partial(self._note_signals, signals))
                output = OutputPump()
                self._start_all(output.descriptor)
                output.start()
                while self._running:
                    self._wait()
                output.end()
                self._listen(output.done, lambda: None)
                while output.is_busy and not self._is_overdue():
                    self._wait()
                if output.reason:
                    warn(f"what the ranks printed cannot be written: {output.reason}")
        finally:
            self._send_signal(signal.SIGKILL)
            for name in self._memory:
                with contextlib.suppress(OSError):
                    os.unlink(name)
            for connection in self._sockets:
                connection.close()
            self._selector.close()
            self._board.close()
        if self._exit_code is None and self._asked_to_end is not None:
            name = name_of(self._asked_to_end)
            say("interrupted" if self._asked_to_end == signal.SIGINT else f"ended by {name}")
            return 128 + self._asked_to_end
        return self._exit_code or 0

    def _start_all(self, output: int) -> None:
        environment = self._environment | {
            BOARD_VARIABLE: self._board.address,
            "PMI_SIZE": str(self._job.num_ranks),
            "MPI_LOCALNRANKS": str(self._job.num_ranks),
        }
        for rank in range(self._job.num_ranks):
            ours, theirs = socket.socketpair()
            self._sockets.append(ours)
            with theirs:
                environment |= {
                    "PMI_FD": str(theirs.fileno()),
                    "PMI_RANK": str(rank),
                    "MPI_LOCALRANKID": str(rank),
                }
                process = self._start(rank, environment, output, theirs.fileno())
            self._running[rank] = process
            end = os.pidfd_open(process.pid)
            self._listen(ours.fileno(), partial(self._answer, rank, ours))
            self._listen(end, partial(self._note_end, rank, end))

    def _start(
        self, rank: int, environment: Mapping[str, str], output: int, connection: int
    ) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                self._job.command,
                env=environment,
                stdin=None if rank == 0 else subprocess.DEVNULL,
                stdout=output,
                pass_fds=[connection],
                # Linux shares cores between sessions, and Ctrl-C is for this process alone.
                start_new_session=True,
                preexec_fn=partial(_end_with, os.getpid()),
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise CommError(
                f"cannot start rank {rank} of {self._job.num_ranks}: {one_line(error)}; "
                "use fewer ranks, or raise the limits on processes and open files (ulimit -u, -n)"
            ) from None

    def _listen(self, descriptor: int, action: Callable[[], None]) -> None:
        self._selector.register(descriptor, selectors.EVENT_READ, action)

    def _wait(self) -> None:
        """Waits for the next thing that happens, and does what follows from it."""
        if self._is_overdue():
            self._send_signal(signal.SIGKILL)
        elif self._kill_at is None and any(self._board.read(rank).told for rank in self._running):
            self._kill_at = time.monotonic() + _TOLD_GRACE_S
        for key, _ in self._selector.select(_LOOK_EVERY_S):
            key.data()

    def _is_overdue(self) -> bool:
        return self._kill_at is not None and time.monotonic() >= self._kill_at

    def _answer(self, rank: int, connection: socket.socket) -> None:
        data = b""
        with contextlib.suppress(OSError):
            data = connection.recv(_CHUNK_BYTES)
        if not data or not self._manager.feed(rank, data):
            self._selector.unregister(connection)
        if self._manager.aborted is not None:
            self._end(self._manager.aborted)

    def _send(self, rank: int, data: bytes) -> None:
        with contextlib.suppress(OSError):  # it has ended, as will be seen
            self._sockets[rank].sendall(data)

    def _note_signals(self, descriptor: int) -> None:
        """Asks the ranks to end as this process was, and insists the second time."""
        for number in os.read(descriptor, _CHUNK_BYTES):
            again, self._asked_to_end = self._asked_to_end is not None, number
            self._kill_at = time.monotonic() + (0.0 if again else _GRACE_S)
            self._send_signal(signal.SIGKILL if again else signal.SIGTERM)
            self._send_signal(signal.SIGCONT)  # or one that is stopped would not hear of it

    def _note_end(self, rank: int, descriptor: int) -> None:
        self._selector.unregister(descriptor)
        os.close(descriptor)
        process = self._running.pop(rank)
        code = process.wait()
        note = self._board.read(rank)
        if self._exit_code is not None or (self._asked_to_end is not None and code <= 0):
            return
        if code < 0:
            if not note.told:
                say(killed_line(rank, process.pid, -code, note.step, self._job.remedy))
            self._end(1 if note.told else 128 - code)
        elif code > 0:
            self._end(code, within_s=_SETTLE_S)
        elif self._running and self._manager.missed_by_others(rank):
            say(early_line(rank, process.pid))
            self._end(1)

    def _end(self, code: int, within_s: float = 0.0) -> None:
        """Ends all ranks; the first that made it necessary decides how the job ends."""
        if self._exit_code is None:
            self._exit_code = code
            self._kill_at = time.monotonic() + within_s
        if not within_s:
            self._send_signal(signal.SIGKILL)

    def _send_signal(self, number: signal.Signals) -> None:
        for process in self._running.values():
            self._memory |= mpich_memory_of(process.pid)
            process.send_signal(number)


@contextlib.contextmanager
def _signals() -> Iterator[int]:
    """A descriptor that yields the numbers of the signals which are to end this process.

    One that is ignored, as in the background of a script or under nohup, stays so.
    """
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = {
        number: signal.signal(number, lambda *_: None)
        for number in _ENDING
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    written_before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(written_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)


def _end_with(parent: int) -> None:
    """Lets the kernel end this process when the one that started it is killed."""
    end_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
