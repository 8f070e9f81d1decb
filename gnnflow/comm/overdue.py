"""What an overdue answer is blamed on: every rank is asked whether it lives and where it is."""

import json
import time
from collections.abc import Collection
from typing import Any

from gnnflow.comm.collectives import CollectiveQueue
from gnnflow.comm.failure import Failure

_ANSWER_WITHIN_S = 3.0
# The thread that notes never rests for long: so much of the time-out between two looks is a pause.
_PAUSE_SHARE = 0.5


class Pauses:
    """When this rank was held up: stopped, swapped out, or asleep in a debugger."""

    def __init__(self, timeout_s: float) -> None:
        """Takes the time-out, next to which a pause is long or short."""
        self._timeout_s = timeout_s
        self._end = self._seconds = 0.0

    def note(self, before: float, now: float) -> None:
        """Takes the times of two looks in a row."""
        if now - before > self._timeout_s * _PAUSE_SHARE:
            self._end, self._seconds = now, now - before

    @property
    def latest_s(self) -> float:
        """How long the latest pause took; 0 if there was none within the time-out."""
        return self._seconds if time.perf_counter() - self._end < self._timeout_s else 0.0


def status_of(step: str, collectives: CollectiveQueue, pauses: Pauses) -> bytes:
    """What a rank answers to an inquiry of another."""
    status = {"step": step, "collectives": collectives.num_begun, "paused_s": pauses.latest_s}
    return json.dumps(status).encode()


class Inquiry:
    """A round of questions to all ranks after something took too long."""

    def __init__(
        self,
        label: str,
        step: str,
        timeout_s: float,
        *,
        owing: Collection[int] | None,
        num_collectives: int,
        num_others: int,
        reason: str = "",
    ) -> None:
        """Describes what is overdue.

        Args:
            label: what was asked for.
            step: where this rank is in its program.
            timeout_s: the time that was allowed.
            owing: ranks that owe an answer; None for a collective operation.
            num_collectives: collective operations that this rank began.
            num_others: ranks that will be asked.
            reason: why it failed, in words; empty for a time-out.
        """
        self._label = label
        self._step = step
        self._timeout_s = timeout_s
        self._owing = owing
        self._num_collectives = num_collectives
        self._num_others = num_others
        self._reason = reason
        self._is_time_out = not reason or "timed out" in reason.lower()
        self._statuses: dict[int, dict[str, Any]] = {}
        self._end = time.perf_counter() + _ANSWER_WITHIN_S

    def hear(self, rank: int, data: bytes) -> None:
        """Notes the status of a rank."""
        self._statuses[rank] = json.loads(data)

    def over(self) -> bool:
        """Says whether all have answered, or time is up."""
        return len(self._statuses) == self._num_others or time.perf_counter() > self._end

    def failure(self, rank: int, paused_s: float) -> Failure:
        """Names the ranks to blame, as seen from `rank`, which itself was held up for a time."""
        others = [other for other in range(self._num_others + 1) if other != rank]
        silent = [other for other in others if other not in self._statuses]
        pauses = {other: float(status["paused_s"]) for other, status in self._statuses.items()}
        pauses |= {rank: paused_s}
        paused = sorted(other for other, seconds in pauses.items() if seconds)
        late = [] if silent or paused else sorted(filter(self._is_late, self._statuses))
        blamed = [f"rank {other} does not respond" for other in silent]
        if not silent:
            blamed = [f"rank {other} was held up for {pauses[other]:.0f} s" for other in paused]
        what_is_missing = "come to it" if self._owing is None else "answered"
        blamed += [
            f"rank {other} responds{_at(self._statuses[other]['step'], ',')} "
            f"but has not {what_is_missing}"
            for other in late
        ]
        whom = silent or paused or late
        if self._reason and not self._is_time_out:
            # The others may be anywhere, each in its own way.
            text = f"{self._label}{_at(self._step)} failed ({self._reason})"
            text += f": {'; '.join(blamed)}" if blamed else ""
            return Failure(f"lost {whom}", text)
        text = (
            f"no end of {self._label}{_at(self._step)} within {self._timeout_s:g} s "
            f"(--comm-timeout): {'; '.join(blamed) or 'all ranks respond, the network may be slow'}"
        )
        return Failure(f"time-out {whom}", text)

    def _is_late(self, rank: int) -> bool:
        if self._reason:  # outside of the operations that are counted
            return bool(self._statuses[rank]["step"] != self._step)
        if self._owing is None:
            return bool(self._statuses[rank]["collectives"] < self._num_collectives)
        return rank in self._owing


def _at(step: str, comma: str = "") -> str:
    return f"{comma} at {step}{comma}" if step else ""
