"""What a rank answers when others ask, by the name of what is asked."""

import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy.typing as npt

from gnnflow.array_types import ByteArray
from gnnflow.comm.mailbox import Mailbox
from gnnflow.comm.messages import BufferPool, Message, read_message, write_message
from gnnflow.errors import CommError

AnswerInParts = Callable[[Message], Iterator[ByteArray]]
"""Yields raw bytes, each part in a buffer of the service's pool; the parts are sent one by one."""
AnswerWithArrays = Callable[[Message], Sequence[npt.NDArray[Any]]]
"""Returns one-dimensional arrays, sent as one message."""

_PARTS_IN_FLIGHT = 4


class Answers:
    """The answers of a rank, given in its communication thread."""

    def __init__(self, mailbox: Mailbox, pool: BufferPool) -> None:
        """Takes where answers are sent and where the memory of messages belongs."""
        self._mailbox = mailbox
        self._pool = pool
        self._known: dict[int, tuple[str, AnswerInParts | None, AnswerWithArrays | None]] = {}
        self._early: list[tuple[int, ByteArray, Message]] = []
        self._under_way: deque[_AnswerUnderWay] = deque()

    def __bool__(self) -> bool:
        """Says whether an answer is under way."""
        return bool(self._under_way)

    def register(
        self, name: str, in_parts: AnswerInParts | None, with_arrays: AnswerWithArrays | None
    ) -> None:
        """Answers the questions of a name in one of two ways, those that came before too.

        Raises:
            CommError: if the name is taken.
        """
        kind = kind_of(name)
        if kind in self._known:
            raise CommError(
                f"'{name}' cannot be served: '{self._known[kind][0]}' is; choose another name"
            )
        self._known[kind] = (name, in_parts, with_arrays)
        early, self._early = self._early, []
        for source, buffer, message in early:
            self._answer(source, buffer, message)

    def forget(self, name: str) -> None:
        """Ends the answers of a name."""
        self._known.pop(kind_of(name), None)

    def answer(self, source: int, question: ByteArray) -> None:
        """Answers a question, or keeps it until there is an answer."""
        self._answer(source, question, read_message(question))

    def send_part(self) -> bool:
        """Sends the next part of one answer; answers under way take turns.

        Returns:
            Whether there was anything to do.
        """
        for _ in range(len(self._under_way)):
            answer = self._under_way.popleft()
            if answer.parts_in_flight == _PARTS_IN_FLIGHT:
                self._under_way.append(answer)
                continue
            part = next(answer.parts, None)
            if part is None:
                self._pool.give(answer.question)
                continue
            self._under_way.append(answer)
            answer.parts_in_flight += 1
            when_sent = partial(self._part_sent, answer, part)
            self._mailbox.send_bytes(part, answer.peer, answer.tag, when_sent)
            return True
        return False

    def _answer(self, source: int, question: ByteArray, message: Message) -> None:
        if message.kind not in self._known:
            self._early.append((source, question, message))
            return
        _, in_parts, with_arrays = self._known[message.kind]
        if in_parts is not None:
            parts = in_parts(message)
            self._under_way.append(_AnswerUnderWay(parts, question, source, message.reply_tag))
        elif with_arrays is not None:
            reply = write_message(self._pool, 0, 0, (), with_arrays(message))
            self._mailbox.send_message(reply, source, message.reply_tag)
            self._pool.give(question)

    def _part_sent(self, answer: "_AnswerUnderWay", part: ByteArray) -> None:
        answer.parts_in_flight -= 1
        self._pool.give(part)


class _AnswerUnderWay:
    """An answer that is sent part by part."""

    def __init__(
        self, parts: Iterator[ByteArray], question: ByteArray, peer: int, tag: int
    ) -> None:
        self.parts = parts
        self.question = question
        self.peer = peer
        self.tag = tag
        self.parts_in_flight = 0


def kind_of(name: str) -> int:
    """Returns a number for a name, the same on all ranks."""
    return zlib.crc32(name.encode())
