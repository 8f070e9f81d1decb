"""Children of a process that starts ranks: what they run and print, and that they end with it."""

import ctypes
import os
import select
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from signal import Signals

from gnnflow.errors import one_line

_PR_SET_PDEATHSIG = 1
_PIPE_BYTES = 1 << 16
_STDOUT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class JobCommand:
    """A job of several ranks, before it is started."""

    command: Sequence[str]
    """What is started, with its arguments: each rank's program, or a launcher with that program."""
    environment: Mapping[str, str]
    """Its variables."""
    num_ranks: int
    """How many ranks the job has."""
    remedy: str = ""
    """What a user may do after a rank was killed, in words."""


def end_with_parent(number: Signals) -> None:
    """Lets the kernel send this process a signal when the one that started it is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


class OutputPump:
    """A pipe into which ranks print, and a thread that empties it into standard output.

    When nobody reads any more, as behind `| head`, what comes is dropped: a run that takes days
    does not end because its progress is no longer watched.
    """

    def __init__(self) -> None:
        """Opens the pipe."""
        self._reading, self.descriptor = os.pipe2(os.O_CLOEXEC)
        self._ending = os.eventfd(0)
        self.done = os.eventfd(0)
        """A descriptor that can be read once all has been handed on."""
        self.reason = ""
        """Why not all could be handed on, if not because nobody reads it."""
        self._thread = threading.Thread(target=self._run, name="gnnflow-output", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def end(self) -> None:
        """Lets the thread end with what has been printed by now, whoever holds the pipe open."""
        os.eventfd_write(self._ending, 1)

    @property
    def is_busy(self) -> bool:
        """Whether something is left to be handed on."""
        return self._thread.is_alive()

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._reading, select.POLLIN)
        poll.register(self._ending, select.POLLIN)
        is_read = True
        while self._reading in dict(poll.poll()):
            data = os.read(self._reading, _PIPE_BYTES)
            try:
                is_read = is_read and write_all(data)
            except OSError as error:
                is_read, self.reason = False, one_line(error.strerror)
        os.eventfd_write(self.done, 1)


def write_all(data: bytes) -> bool:
    """Writes to standard output; False if nobody reads it any more."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(_STDOUT, view) :]
        except BlockingIOError:  # whoever made it waits for nothing, and so must we
            select.select([], [_STDOUT], [])
        except BrokenPipeError:
            return False
    return True
