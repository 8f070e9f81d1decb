"""The one thread of a rank that talks to other ranks.

All MPI calls of an open context are made here, so MPI needs no thread support beyond one caller at
a time, and a rank answers questions while its main thread computes. Questions go from point to
point and are answered as they arrive: ranks need not be in step, and a missing answer names the
rank that owes it.
"""

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any, NoReturn

import numpy as np

from gnnflow.array_types import ByteArray
from gnnflow.comm.answer_service import AnswerInParts, Answers, AnswerWithArrays, kind_of
from gnnflow.comm.calls import Call, Request
from gnnflow.comm.collectives import Collective, CollectiveQueue, Steps
from gnnflow.comm.failure import Failure, FailureReporter, end_process
from gnnflow.comm.mailbox import Mailbox
from gnnflow.comm.messages import (
    FIRST_REPLY_TAG,
    NUM_REPLY_TAGS,
    TAG_FAILURE,
    TAG_INQUIRY,
    TAG_REQUEST,
    TAG_STATUS,
    BufferPool,
    read_message,
    write_message,
)
from gnnflow.comm.mpi_library import MPI
from gnnflow.comm.overdue import Inquiry, Pauses, status_of
from gnnflow.comm.windows import FillRows, RowWindows
from gnnflow.errors import CommError
from gnnflow.launch.rank_deaths import Neighbours

MESSAGE_LIMIT_BYTES = 1 << 30
# After the last event the thread spins, then sleeps for an eighth of the time since that event.
_SPIN_S = 50e-6
_YIELD_S = 1e-3
_SHORTEST_SLEEP_S = 20e-6
_LONGEST_SLEEP_S = 1e-3
_DEADLINES_EVERY_S = 0.05
# Another thread that runs Python code hands over the interpreter after this time, not after 5 ms.
_SWITCH_INTERVAL_S = 2e-4
_FAIL_WITHIN_S = 15.0


class ExchangeService:
    """Questions to other ranks, answers to theirs, and collective operations."""

    def __init__(
        self,
        comm: MPI.Intracomm,
        *,
        timeout_s: float,
        describe_step: Callable[[], str] = str,
        message_limit_bytes: int = MESSAGE_LIMIT_BYTES,
    ) -> None:
        """Duplicates the communicator and starts the thread; all ranks do this together.

        Args:
            comm: the ranks of the job.
            timeout_s: seconds after which a missing answer ends the job.
            describe_step: says what the main thread is doing, for messages about time-outs.
            message_limit_bytes: longer messages are sent in parts.
        """
        self.pool = BufferPool()
        self.timeout_s = timeout_s
        self.rank: int = comm.rank
        self.num_ranks: int = comm.size
        self._message_comm = comm.Dup()
        self._collective_comm = comm.Dup()
        for duplicate in (self._message_comm, self._collective_comm):
            duplicate.Set_errhandler(MPI.ERRORS_RETURN)
        self._mailbox = Mailbox(self._message_comm, self.pool, message_limit_bytes)
        self._describe_step = describe_step
        self._submitted: deque[Callable[[], None]] = deque()
        self._bell = threading.Lock()
        self._bell.acquire()
        self._answers = Answers(self._mailbox, self.pool)
        self._windows = RowWindows(self._mailbox.outstanding)
        self._calls: list[Call] = []
        self._awaited: dict[int, tuple[Call, int]] = {}
        self._reply_numbers = count()
        self._scopes = count()
        self._collectives = CollectiveQueue(self._mailbox.outstanding)
        self._inquiry: Inquiry | None = None
        self._failures = FailureReporter(self._message_comm)
        self._neighbours = Neighbours()
        self._next_deadline_check = 0.0
        self._pauses = Pauses(timeout_s)
        self._stopping = False
        self._switch_interval_s = sys.getswitchinterval()
        sys.setswitchinterval(min(self._switch_interval_s, _SWITCH_INTERVAL_S))
        self._thread = threading.Thread(target=self._run, name="gnnflow-comm", daemon=True)
        self._thread.start()

    # What other threads call.

    def new_scope(self) -> str:
        """Returns a prefix for names, the same on all ranks if they all call this in one order."""
        return f"{next(self._scopes)}/"

    def serve_parts(self, name: str, answer: AnswerInParts) -> None:
        """Answers the questions of a name with raw bytes; they may arrive before this call."""
        self._submit(partial(self._answers.register, name, answer, None))

    def serve_arrays(self, name: str, answer: AnswerWithArrays) -> None:
        """Answers the questions of a name with arrays; they may arrive before this call."""
        self._submit(partial(self._answers.register, name, None, answer))

    def withdraw(self, name: str) -> None:
        """Ends the answers of a name; nobody may ask any more, and it may be served anew."""
        withdrawn = threading.Event()

        def forget() -> None:
            self._answers.forget(name)
            withdrawn.set()

        self._submit(forget)
        withdrawn.wait()

    def call(self, name: str, label: str, requests: Sequence[Request]) -> Call:
        """Sends questions to other ranks.

        Args:
            name: what is asked, as the owners serve it.
            label: the same in words, with what belongs to it, for messages about time-outs.
            requests: the questions, at most one for each rank and none to this one.

        Returns:
            The call under way.

        Raises:
            CommError: if the service has stopped.
        """
        call = self._new_call(label, requests)
        tags, messages = [], []
        for request in requests:
            tag = FIRST_REPLY_TAG + next(self._reply_numbers) % NUM_REPLY_TAGS
            tags.append(tag)
            messages.append(
                write_message(self.pool, kind_of(name), tag, request.params, request.arrays)
            )
        if requests:
            self._submit(partial(self._start_call, call, tags, messages))
        return call

    def open_window(
        self, name: str, num_rows: int, row_bytes: int, fill: FillRows
    ) -> dict[int, ByteArray]:
        """Copies rows to where other ranks can read them with `get`; all ranks do so together.

        Args:
            name: name of the rows.
            num_rows: rows of this rank.
            row_bytes: bytes of a row, the same on all ranks, at least 1.
            fill: writes the rows into uint8 `[num_rows, row_bytes]`.

        Returns:
            By rank, the rows of others that lie in this process' memory too: uint8
            `[num_rows, row_bytes]`, valid until the service stops.
        """
        readable: dict[int, ByteArray] = self.collective(
            f"opening a window on {name}",
            lambda comm: self._windows.open(comm, name, num_rows, row_bytes, fill),
        ).result()
        return readable

    def get(self, name: str, label: str, requests: Sequence[Request]) -> Call:
        """Reads rows of other ranks' windows without their help.

        Args:
            name: name of the window.
            label: what is read, in words, for messages about time-outs.
            requests: for each rank the row numbers as the only array, and `into`.

        Returns:
            The call under way.

        Raises:
            CommError: if the service has stopped.
        """
        call = self._new_call(label, requests)
        if requests:
            self._submit(partial(self._start_get, call, name))
        return call

    def collective(self, label: str, steps: Callable[[MPI.Intracomm], Steps]) -> Collective:
        """Begins a collective operation; all ranks do so in the same order.

        Args:
            label: what it is, in words.
            steps: makes the steps from the communicator to use.

        Raises:
            CommError: if the service has stopped.
        """
        operation = Collective(
            label, steps(self._collective_comm), time.perf_counter() + self.timeout_s
        )
        self._submit(partial(self._collectives.add, operation))
        return operation

    def fail(self, failure: Failure) -> NoReturn:
        """Ends the job of all ranks; does not return."""
        self._end_by(partial(self._failures.end_job, failure), failure)

    def fail_with_ranks(self, label: str, reason: str) -> NoReturn:
        """Ends the job after something outside failed, with the ranks that do not respond.

        Args:
            label: what failed.
            reason: the error, in words.
        """
        failure = Failure(key=label, text=f"{label} failed: {reason}")
        self._end_by(partial(self._inquire, label, None, reason), failure)

    def _end_by(self, action: Callable[[], Any], failure: Failure) -> NoReturn:
        """Lets the thread end the job by what it knows of others; where it cannot, ends it here."""
        try:
            if self._thread.is_alive() and not self._stopping:
                self._submit(action)
                self._thread.join(_FAIL_WITHIN_S)
        finally:
            end_process(failure, self.rank)

    def watch(self, pids: Mapping[int, int]) -> None:
        """Ends the job with one line if a rank of this machine ends before `expect_ends`.

        Args:
            pids: processes of the other ranks on this machine, by rank.
        """
        self._submit(partial(self._neighbours.watch, dict(pids)))

    def expect_ends(self) -> None:
        """Ends what `watch` began, before ranks may end."""
        self._submit(self._neighbours.close)

    def finish_calls(self) -> None:
        """Waits for the answers to all calls of this rank, also those that nobody waits for."""
        calls: list[Call] = []
        listed = threading.Event()

        def list_calls() -> None:
            calls.extend(self._calls)
            listed.set()

        self._submit(list_calls)
        listed.wait()
        for call in calls:
            call.result()

    def stop(self) -> None:
        """Stops the thread once nothing is pending; all ranks do this after a last barrier."""
        if self._stopping:
            return

        def stop() -> None:
            self._stopping = True

        self._submit(stop)
        self._thread.join()
        sys.setswitchinterval(self._switch_interval_s)
        self._windows.close()
        self._message_comm.Free()
        self._collective_comm.Free()

    # What the thread does.

    def _new_call(self, label: str, requests: Sequence[Request]) -> Call:
        deadline = time.perf_counter() + self.timeout_s
        return Call(label, requests, deadline, self._thread.is_alive)

    def _submit(self, action: Callable[[], Any]) -> None:
        if self._stopping:
            raise CommError("the context is closed: nothing can be asked of other ranks any more")
        self._submitted.append(action)
        try:
            self._bell.release()
        except RuntimeError:
            pass  # it rings already

    def _run(self) -> None:
        try:
            self._loop()
        except BaseException as error:
            try:
                self._failures.end_job(Failure.from_exception(error, self._describe_step()))
            finally:
                os._exit(1)  # a rank without this thread would let the others wait for it

    def _loop(self) -> None:
        mailbox = self._mailbox
        last_event = now = time.perf_counter()
        while True:
            progress = self._take_submissions()
            progress |= mailbox.receive_message(self._handle)
            progress |= self._answers.send_part()
            progress |= mailbox.outstanding.advance()
            progress |= self._collectives.begin()
            before, now = now, time.perf_counter()
            self._pauses.note(before, now)
            if now >= self._next_deadline_check:
                self._check_deadlines(now)
            if gone := self._neighbours.gone(now):
                self._failures.mourn(gone, self._neighbours.ranks, self._describe_step())
            if progress:
                last_event = now
            elif self._stopping and not (mailbox.outstanding or self._answers):
                return
            elif mailbox.outstanding and now - last_event < _YIELD_S:
                os.sched_yield()
            elif now - last_event > _SPIN_S:
                sleep_s = min(max((now - last_event) / 8, _SHORTEST_SLEEP_S), _LONGEST_SLEEP_S)
                self._bell.acquire(timeout=sleep_s)

    def _take_submissions(self) -> bool:
        if not self._submitted:
            return False
        while self._submitted:
            self._submitted.popleft()()
        return True

    def _watch(self, call: Call) -> None:
        self._calls = [other for other in self._calls if not other.done()]
        self._calls.append(call)

    def _start_get(self, call: Call, name: str) -> None:
        self._watch(call)
        self._windows.start(call, name)

    def _start_call(self, call: Call, tags: Sequence[int], messages: Sequence[ByteArray]) -> None:
        self._watch(call)
        for position, (request, tag) in enumerate(zip(call.requests, tags, strict=True)):
            if request.into is None:
                assert tag not in self._awaited
                self._awaited[tag] = (call, position)
                continue
            arrived = partial(call.part_arrived, position)
            for part in request.into:
                self._mailbox.receive_bytes(part, request.peer, tag, arrived)
        for request, message in zip(call.requests, messages, strict=True):
            self._mailbox.send_message(message, request.peer, TAG_REQUEST)

    def _handle(self, source: int, tag: int, buffer: ByteArray) -> None:
        if tag == TAG_REQUEST:
            self._answers.answer(source, buffer)
        elif tag >= FIRST_REPLY_TAG:
            call, position = self._awaited.pop(tag)
            call.message_arrived(position, buffer, read_message(buffer))
        elif tag == TAG_FAILURE:
            self._failures.hear(source, buffer.tobytes())
        elif tag == TAG_INQUIRY:
            status = status_of(self._describe_step(), self._collectives, self._pauses)
            self._send_control(status, source, TAG_STATUS)
        elif self._inquiry is not None:
            self._inquiry.hear(source, buffer.tobytes())

    def _send_control(self, data: bytes, peer: int, tag: int) -> None:
        message = self.pool.take(len(data))
        message[:] = np.frombuffer(data, dtype=np.uint8)
        self._mailbox.send_bytes(message, peer, tag, partial(self.pool.give, message))

    def _check_deadlines(self, now: float) -> None:
        self._next_deadline_check = now + _DEADLINES_EVERY_S
        if self._inquiry is not None:
            if self._inquiry.over():
                self._failures.end_job(self._inquiry.failure(self.rank, self._pauses.latest_s))
            return
        late = [call for call in self._calls if now > call.deadline and not call.done()]
        collective = self._collectives.under_way
        if late:
            self._inquire(late[0].label, late[0].peers_owing())
        elif collective is not None and now > collective.deadline:
            self._inquire(collective.label, None)

    def _inquire(self, label: str, owing: list[int] | None, reason: str = "") -> None:
        if self._inquiry is not None:
            return
        self._inquiry = Inquiry(
            label,
            self._describe_step(),
            self.timeout_s,
            owing=owing,
            num_collectives=self._collectives.num_begun,
            num_others=self.num_ranks - 1,
            reason=reason,
        )
        for peer in range(self.num_ranks):
            if peer != self.rank:
                self._send_control(b"?", peer, TAG_INQUIRY)
