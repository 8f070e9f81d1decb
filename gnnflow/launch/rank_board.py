"""Where each rank of a job is, in memory that whoever started the job can read after its end.

A rank that is killed says nothing more. The process that started the job holds a file in memory
with a slot for each rank; a rank maps it and notes its process and its step, which costs a copy of
some bytes and no system call. Nothing is left on disk, whoever dies first.
"""

import contextlib
import mmap
import os
import secrets
from dataclasses import dataclass

BOARD_VARIABLE = "GNNFLOW_RANK_BOARD"
"""Path of the file and a word that is in its name, set for the ranks of a job."""

_NAME = "gnnflow-ranks-"
_SLOT_BYTES = 256
_PID = slice(0, 8)
_TOLD = 8
_STEP = slice(16, _SLOT_BYTES)


@dataclass(frozen=True, kw_only=True, slots=True)
class RankNote:
    """What a rank noted last."""

    pid: int
    """Its process; 0 before it has come so far."""
    told: bool
    """Whether it has said on stderr why the job ends."""
    step: str
    """What it was doing."""


class RankBoard:
    """The slots of all ranks, held by the process that starts them."""

    def __init__(self, num_ranks: int) -> None:
        """Makes empty slots."""
        self._word = secrets.token_hex(8)
        self._descriptor = os.memfd_create(_NAME + self._word)
        os.ftruncate(self._descriptor, num_ranks * _SLOT_BYTES)
        self._map = mmap.mmap(self._descriptor, num_ranks * _SLOT_BYTES)
        self.num_ranks = num_ranks

    @property
    def address(self) -> str:
        """What ranks need in `BOARD_VARIABLE` to find it."""
        return f"/proc/{os.getpid()}/fd/{self._descriptor} {self._word}"

    def read(self, rank: int) -> RankNote:
        """Returns what a rank noted last."""
        slot = self._map[rank * _SLOT_BYTES : (rank + 1) * _SLOT_BYTES]
        return RankNote(
            pid=int.from_bytes(slot[_PID], "little"),
            told=bool(slot[_TOLD]),
            step=slot[_STEP].rstrip(b"\0").decode(errors="replace"),
        )

    def close(self) -> None:
        """Lets go of the memory."""
        self._map.close()
        os.close(self._descriptor)


class RankSlot:
    """The slot of this rank; without a board it swallows what is noted."""

    def __init__(self) -> None:
        """Knows no board yet."""
        self._map: mmap.mmap | None = None
        self._start = 0

    @property
    def is_watched(self) -> bool:
        """Whether the process that started the job tells how a rank ended."""
        return self._map is not None

    def join(self, rank: int) -> None:
        """Finds the board of the job, if there is one on this machine, and notes this process."""
        path, _, word = os.environ.get(BOARD_VARIABLE, "").partition(" ")
        if self._map is not None or not word:
            return
        with contextlib.suppress(OSError, ValueError):
            # On another machine, or after the starter's end, the path may be anything.
            if not os.readlink(path).startswith(f"/memfd:{_NAME}{word}"):
                return
            descriptor = os.open(path, os.O_RDWR)
            try:
                size = os.fstat(descriptor).st_size
                if (rank + 1) * _SLOT_BYTES > size:
                    return
                self._map = mmap.mmap(descriptor, size)
            finally:
                os.close(descriptor)
            self._start = rank * _SLOT_BYTES
            self._write(_PID, os.getpid().to_bytes(8, "little"))

    def note_step(self, step: str) -> None:
        """Notes what the rank is doing."""
        if self._map is not None:
            width = _STEP.stop - _STEP.start
            self._write(_STEP, step.encode()[:width].ljust(width, b"\0"))

    def note_told(self) -> None:
        """Notes that the rank has said why the job ends."""
        self._write(slice(_TOLD, _TOLD + 1), b"\1")

    def _write(self, where: slice, data: bytes) -> None:
        if self._map is not None:
            self._map[self._start + where.start : self._start + where.stop] = data


OWN_SLOT = RankSlot()
"""That of this process."""
