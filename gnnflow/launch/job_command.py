"""What is run, whoever starts the ranks of it, and how a child ends with the process it serves."""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from signal import Signals

_PR_SET_PDEATHSIG = 1


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
