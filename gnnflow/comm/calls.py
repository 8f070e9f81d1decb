"""A question to other ranks, from the side of the thread that asks and waits."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow.array_types import ByteArray
from gnnflow.comm.messages import Message
from gnnflow.errors import CommError

# How often a thread that waits looks whether there is anybody left to answer.
_LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    """A question to one rank.

    The answer is either the raw bytes of arrays whose sizes the asker knows, received straight
    into `into`, or, without `into`, a message of arrays of any size.
    """

    peer: int
    """The rank asked."""
    params: Sequence[int]
    """Integers of the question."""
    arrays: Sequence[npt.NDArray[Any]]
    """Arrays of the question, one-dimensional."""
    into: Sequence[ByteArray] | None = None
    """Where the answer goes, in the parts in which the owner sends it, at least one."""


class Call:
    """Questions to several ranks at once, under way."""

    def __init__(
        self,
        label: str,
        requests: Sequence[Request],
        deadline: float,
        is_answered: Callable[[], bool] = lambda: True,
    ) -> None:
        """Takes what is asked.

        Args:
            label: what is asked for, in words, for messages about time-outs.
            requests: the questions, at most one to each rank.
            deadline: when the answers are overdue, on the clock of `time.perf_counter`.
            is_answered: tells whether answers can still arrive.
        """
        self.label = label
        self.requests = requests
        self.deadline = deadline
        self._is_answered = is_answered
        self.waited_s = 0.0
        """Time that `result` spent waiting."""
        self._messages: list[Message | None] = [None] * len(requests)
        self._buffers: list[ByteArray] = []
        self._owed = [1 if request.into is None else len(request.into) for request in requests]
        self._num_owed = sum(self._owed)
        self._done = threading.Event()
        if self._num_owed == 0:
            self._done.set()

    def done(self) -> bool:
        """Says whether all answers are there."""
        return self._done.is_set()

    def result(self) -> Sequence[Message | None]:
        """Waits for the answers; a time-out ends the job.

        Returns:
            One message for each question, in order; None where the answer went into its buffers.

        Raises:
            CommError: if the context was closed before they came.
        """
        if not self._done.is_set():
            start = time.perf_counter()
            while not self._done.wait(_LOOK_EVERY_S):
                if not self._is_answered() and not self._done.is_set():
                    raise CommError(
                        f"no answer to {self.label} can come any more: the context is closed; "
                        "end loaders before it"
                    )
            self.waited_s += time.perf_counter() - start
        return self._messages

    def received_bytes(self) -> int:
        """Returns the size of the answers that came as messages."""
        return sum(buffer.nbytes for buffer in self._buffers)

    def release(self, give: Callable[[npt.NDArray[np.generic]], None]) -> None:
        """Gives the memory of the answers back; their arrays may not be used afterwards."""
        for buffer in self._buffers:
            give(buffer)
        self._buffers.clear()

    def peers_owing(self) -> list[int]:
        """Returns the ranks whose answer has not come."""
        pairs = zip(self.requests, self._owed, strict=True)
        return [request.peer for request, owed in pairs if owed]

    def part_arrived(self, position: int) -> None:
        """Notes that one part of the answer to a question is in its buffer."""
        self._owed[position] -= 1
        self._num_owed -= 1
        if self._num_owed == 0:
            self._done.set()

    def message_arrived(self, position: int, buffer: ByteArray, message: Message) -> None:
        """Notes the answer to a question."""
        self._buffers.append(buffer)
        self._messages[position] = message
        self.part_arrived(position)
