"""How a job of several ranks ends when one of them cannot go on: one clear line, then all stop."""

import ctypes
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from gnnflow.comm.messages import TAG_FAILURE
from gnnflow.comm.mpi_library import MPI
from gnnflow.errors import GnnflowError, resource_error
from gnnflow.launch.rank_board import OWN_SLOT

# Ranks that fail for the same reason do so at about the same time: this long, a rank listens for
# others before it speaks, so that a reason is told once.
_LISTEN_S = 0.5
# A rank that leaves the word to another waits this long to be ended by it.
_LEAVE_TO_OTHER_S = 10.0
_ABORT_WITHIN_S = 5.0
_STDERR = 2
# What was printed must leave the process before the launcher hears of the end.
_PRINT_S = 0.05
# Held by the thread that ends this process.
_ENDING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a rank cannot go on."""

    key: str
    """Equal on ranks that fail for the same reason."""
    text: str
    """The one line for the user."""
    exit_code: int = 1
    details: str = ""
    """Lines before it: the traceback of what is a bug and no mistake of the user."""

    @classmethod
    def from_exception(cls, error: BaseException, step: str = "") -> "Failure":
        """Describes an exception that leaves the program, which was at `step`."""
        try:
            return cls._of(error, step)
        except Exception:  # no memory, or an exception that cannot say what it is
            kind = type(error).__name__
            return cls(kind, kind)

    @classmethod
    def _of(cls, error: BaseException, step: str) -> "Failure":
        text = " ".join(str(error).split())
        if isinstance(error, KeyboardInterrupt):
            return cls("interrupted", "interrupted", exit_code=130)
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else 1
            reason = f"ended with exit code {code}" if isinstance(error.code, int) else text
            return cls(f"exit {reason}", reason, exit_code=code)
        if isinstance(error, GnnflowError):
            return cls(text, text)
        if (shortage := resource_error(error)) is not None:
            return cls(f"{shortage}", f"{f'at {step}: ' if step else ''}{shortage}")
        line = f"{type(error).__name__}: {text}"
        return cls(line, line, details="".join(traceback.format_exception(error)))


class FailureReporter:
    """Ends the job of all ranks, in the thread that makes this rank's MPI calls."""

    def __init__(self, comm: MPI.Intracomm) -> None:
        """Takes the communicator of messages."""
        self._comm = comm
        self._heard: dict[int, str] = {}

    def hear(self, rank: int, data: bytes) -> None:
        """Notes that another rank fails."""
        self._heard[rank] = json.loads(data)["key"]

    def end_job(self, failure: Failure) -> NoReturn:
        """Tells the other ranks, settles who of those with the same reason speaks, and ends all."""
        speaker: int | None = None
        try:
            speaker = self._comm.rank
            speaker = self._agree(failure)
        finally:
            end_process(failure, speaker)

    def _agree(self, failure: Failure) -> int | None:
        """Tells the others; returns whom the failure is of: this rank, or None for all."""
        message = np.frombuffer(json.dumps(asdict(failure)).encode(), dtype=np.uint8)
        others = [rank for rank in range(self._comm.size) if rank != self._comm.rank]
        sends = [self._comm.Isend(message, rank, TAG_FAILURE) for rank in others]
        self._listen(_LISTEN_S, enough=len(others))
        same = [rank for rank, key in self._heard.items() if key == failure.key]
        if same and min(same) < self._comm.rank:
            self._listen(_LEAVE_TO_OTHER_S, enough=len(others) + 1)
        del sends
        return None if len(same) == len(others) else self._comm.rank

    def mourn(self, gone: Mapping[int, int], watched: Collection[int], step: str) -> None:
        """Ends the job because other ranks of this machine have ended, if this rank is to say so.

        Args:
            gone: their processes, by rank.
            watched: the other ranks of this machine.
            step: what this rank is doing.
        """
        if self._heard or OWN_SLOT.is_watched:
            return  # they said why, or who started the job sees it as well and knows more
        speaker = min(rank for rank in (*watched, self._comm.rank) if rank not in gone)
        if speaker != self._comm.rank:
            return
        rank, pid = next(iter(gone.items()))
        at = f", while rank {speaker} was at {step}" if step else ""
        text = (
            f"rank {rank} (process {pid} on {socket.gethostname()}) has ended{at}; it was killed "
            "(often: out of memory) or crashed; a run with checkpoints goes on with --resume auto"
        )
        end_process(Failure(key=text, text=text), None)

    def _listen(self, seconds: float, enough: int) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and len(self._heard) < enough:
            status = MPI.Status()
            message = self._comm.Improbe(MPI.ANY_SOURCE, TAG_FAILURE, status)
            if message is None:
                time.sleep(1e-3)
                continue
            data = np.empty(status.Get_count(MPI.BYTE), dtype=np.uint8)
            message.Recv(data)
            self.hear(status.Get_source(), data.tobytes())


def end_process(failure: Failure, rank: int | None) -> NoReturn:
    """Prints a failure and ends the job at once, whatever else goes wrong on the way.

    Args:
        failure: what to say.
        rank: the rank that failed; None if all did.
    """
    try:
        _attempt(_limit_the_end)
        if _ENDING.acquire(blocking=False):
            _attempt(_flush_output)
            _attempt(_say, failure, rank)
            _attempt(OWN_SLOT.note_told)
            _attempt(_silence_mpi)
            _attempt(_abort, failure.exit_code)
        else:  # another thread is about to
            _attempt(time.sleep, 2 * _ABORT_WITHIN_S)
    finally:
        os._exit(failure.exit_code)


def _attempt(step: Callable[..., object], *arguments: object) -> None:
    """Takes one step of the way out; without memory, files or a reader the next one follows."""
    try:
        step(*arguments)
    except BaseException:
        pass


def _abort(exit_code: int) -> None:
    MPI.COMM_WORLD.Abort(exit_code)


def _limit_the_end() -> None:
    """Lets the kernel end this process after some seconds: the reader or the launcher may hang."""
    # signal.signal is for the main thread alone, which may be stuck in a handler of its own.
    ctypes.CDLL(None).signal(signal.SIGALRM, None)  # SIG_DFL
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    signal.setitimer(signal.ITIMER_REAL, _ABORT_WITHIN_S)


def _flush_output() -> None:
    sys.stdout.flush()


def _say(failure: Failure, rank: int | None) -> None:
    program = Path(sys.argv[0]).name or "gnnflow"
    where = "" if rank is None else f" on rank {rank}"
    text = f"{failure.details}{program}: error{where}: {failure.text}"
    try:
        print(text, file=sys.stderr, flush=True)
    except (OSError, ValueError):  # closed in Python; perhaps not below it
        os.write(_STDERR, f"{text}\n".encode(errors="replace"))
    time.sleep(_PRINT_S)


def _silence_mpi() -> None:
    """MPI's own lines about the end say nothing that the line above does not."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, _STDERR)
    except OSError:  # no descriptor is left
        os.close(_STDERR)
