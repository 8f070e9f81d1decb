"""Choosing how rows travel: shorter types, joint exchanges while they keep training waiting.

Both choosers walk a ladder of settings within the bounds of the run, from what the run asked for
to the most thrifty. They look at measured seconds alone, so a link that slows down, or one that
recovers, shows within a few minibatches.
"""

import dataclasses
import statistics
from collections import deque
from dataclasses import dataclass
from typing import Any, cast

from gnnflow.policies.decision import Decision, WireDtype
from gnnflow.policies.observation import Observation, Window

_BYTES = {"stored": 1.0, "bfloat16": 0.5, "int8": 0.26}
# What a doubled exchange does for the waiting: fewer messages, the same bytes.
_JOINT = 0.9

_RISE = 1.3
_SETTLED = 1.15

_FIRST_MINIBATCHES = 12
_WAITS, _FLOWS = 0.15, 0.02
_IS_BETTER, _IS_WORSE = 0.97, 1.05
_REST, _MAX_REST = 32, 512

_TRUSTED_MINIBATCHES, _MEMORY_MINIBATCHES = 64, 256
_STEP_PENALTY = 0.01
_SWITCH_GAIN = 0.05


@dataclass(frozen=True, slots=True)
class TransferSetting:
    """One setting of how rows travel."""

    wire_dtype: WireDtype
    exchange_every: int

    @property
    def waiting(self) -> float:
        """Waiting for rows in proportion to that of the types as stored, one by one."""
        return _BYTES[self.wire_dtype] * _JOINT ** (self.exchange_every.bit_length() - 1)


def ladder(observation: Observation, first_exchange: int) -> list[TransferSetting]:
    """The settings that a run allows, those of the run first.

    Args:
        observation: has the bounds.
        first_exchange: minibatches of an exchange at the start of the run.
    """
    facts = observation.facts
    names = [cast(WireDtype, name) for name in facts.wire_dtypes]
    steps = [TransferSetting(name, first_exchange) for name in names]
    together = 2 * first_exchange
    while together <= facts.max_exchange_every:
        steps.append(TransferSetting(names[-1], together))
        together *= 2
    return steps


class WaitMeter:
    """Tells what part of a minibatch's seconds rows may be to blame for.

    That is waiting for them, and also what a step takes beyond 1.3 times the shortest of before: on
    a slow link gradients queue behind rows that are fetched ahead, and no rows are waited for.
    """

    def __init__(self) -> None:
        """Has seen nothing."""
        self._latest_s: deque[float] = deque(maxlen=3)
        self._least_s: float | None = None
        self.now_s = 0.0
        """Seconds of a minibatch in the latest window."""
        self.wait_s = 0.0
        """Those of them that rows may be to blame for."""
        self.is_settled = False
        """Whether a minibatch took hardly longer than in the window before."""

    @property
    def share(self) -> float:
        """`wait_s` as a share of all seconds."""
        return self.wait_s / self.now_s if self.now_s > 0 else 0.0

    def look(self, window: Window) -> None:
        """Takes account of a window."""
        if window.elapsed_s <= 0:
            return
        before_s, self.now_s = self.now_s, window.elapsed_s / window.minibatches
        self.is_settled = self.now_s <= _SETTLED * before_s
        stall_s = min(window.stall_s / window.minibatches, self.now_s)
        step_s = self.now_s - stall_s
        self._latest_s.append(step_s)
        if len(self._latest_s) == self._latest_s.maxlen:
            typical_s = statistics.median(self._latest_s)
            self._least_s = min(typical_s, self._least_s or typical_s)
        expected_s = step_s if self._least_s is None else min(_RISE * self._least_s, step_s)
        self.wait_s = stall_s + step_s - expected_s


def with_transfer(decision: Decision, step: TransferSetting | None) -> Decision:
    """A decision that also sets how rows travel."""
    if step is None:
        return decision
    return dataclasses.replace(
        decision, wire_dtype=step.wire_dtype, exchange_every=step.exchange_every
    )


class TransferRule:
    """Goes up the ladder while training waits and down when it does not, undoing what did not help.

    A move that is undone doubles the rest before the next try in that direction.
    """

    def __init__(self) -> None:
        """Starts with the settings of the run."""
        self._meter = WaitMeter()
        self._step = 0
        self._first_exchange = 0
        self._changed = 0
        self._moved = 0
        self._before_s = 0.0
        self._rests = {1: _REST, -1: _REST}
        self._blocked_until = {1: 0, -1: 0}

    def choose(self, observation: Observation) -> TransferSetting | None:
        """The settings from now on; None if the run allows none but its own."""
        self._first_exchange = self._first_exchange or observation.state.exchange_every
        steps = ladder(observation, self._first_exchange)
        if len(steps) == 1:
            return None
        self._step = min(self._step, len(steps) - 1)
        self._meter.look(observation.window)
        minibatch = observation.minibatch
        rest = max(observation.window.minibatches + 2, _FIRST_MINIBATCHES)
        if minibatch - self._changed >= rest and observation.window.elapsed_s > 0:
            self._move(minibatch, len(steps))
        return steps[self._step]

    def _move(self, minibatch: int, num_steps: int) -> None:
        now_s, share = self._meter.now_s, self._meter.share
        moved, self._moved = self._moved, 0
        if moved:
            limit = _IS_BETTER if moved > 0 else _IS_WORSE
            if now_s > limit * self._before_s:
                self._blocked_until[moved] = minibatch + self._rests[moved]
                self._rests[moved] = min(2 * self._rests[moved], _MAX_REST)
                self._step -= moved
                self._changed = minibatch
                return
        up = share > _WAITS and self._meter.is_settled and self._step < num_steps - 1
        down = share < _FLOWS and self._step > 0 and minibatch - self._changed >= _REST
        way = 1 if up else -1 if down else 0
        if way and minibatch >= self._blocked_until[way]:
            self._step += way
            self._changed, self._moved, self._before_s = minibatch, way, now_s

    def state(self) -> dict[str, Any]:
        """The step that it has come to."""
        return {"step": self._step}

    def load_state(self, state: dict[str, Any]) -> None:
        """Goes on from the step of a checkpoint."""
        self._step = int(state["step"])


class TransferBandit:
    """Each step of the ladder is an arm, its cost the seconds of a minibatch.

    The cost of an arm that was not tried of late is predicted from the latest window: computing
    stays, waiting goes with the bytes. What an arm did cost goes before, and fades. It starts
    with the run's own settings, goes up only for an arm that promises 5 % less, and after one that
    did not keep its promise goes up again only after a rest, each twice as long as the last.
    """

    def __init__(self) -> None:
        """Knows nothing."""
        self._meter = WaitMeter()
        self._arm = 0
        self._first_exchange = 0
        self._changed = 0
        self._costs: dict[int, tuple[int, float]] = {}
        self._left_s: float | None = None  # cost of the arm that it went up from
        self._rest = _REST
        self._blocked_until = 0

    def choose(self, observation: Observation) -> TransferSetting | None:
        """The settings from now on; None if the run allows none but its own."""
        self._first_exchange = self._first_exchange or observation.state.exchange_every
        steps = ladder(observation, self._first_exchange)
        if len(steps) == 1:
            return None
        self._arm = min(self._arm, len(steps) - 1)
        window = observation.window
        self._meter.look(window)
        rest = max(window.minibatches + 2, _FIRST_MINIBATCHES)
        if observation.minibatch - self._changed >= rest and window.elapsed_s > 0:
            self._pull(observation.minibatch, steps)
        return steps[self._arm]

    def _pull(self, minibatch: int, steps: list[TransferSetting]) -> None:
        now_s, wait_s = self._meter.now_s, self._meter.wait_s
        self._costs[self._arm] = minibatch, now_s
        if self._left_s is not None:
            kept = now_s < _IS_BETTER * self._left_s
            self._rest = _REST if kept else min(2 * self._rest, _MAX_REST)
            self._blocked_until = 0 if kept else minibatch + self._rest
            self._left_s = None
        compute_s = now_s - wait_s
        costs = []
        for arm, step in enumerate(steps):
            cost = compute_s + wait_s * step.waiting / steps[self._arm].waiting
            if arm != self._arm and arm in self._costs:
                seen, known = self._costs[arm]
                trust = _trust(minibatch - seen)
                cost = trust * known + (1 - trust) * cost
            costs.append(cost * (1 + _STEP_PENALTY * arm))
        may_rise = minibatch >= self._blocked_until and self._meter.is_settled
        allowed = len(steps) if may_rise else self._arm + 1
        best = min(range(allowed), key=costs.__getitem__)
        up = best > self._arm  # going back is for free: exactness is worth having
        if costs[best] < (1 - _SWITCH_GAIN if up else 1.0) * costs[self._arm]:
            self._left_s = now_s if up else None
            self._arm, self._changed = best, minibatch

    def state(self) -> dict[str, Any]:
        """The arm in use."""
        return {"arm": self._arm}

    def load_state(self, state: dict[str, Any]) -> None:
        """Goes on with the arm of a checkpoint."""
        self._arm = int(state["arm"])


def _trust(age: int) -> float:
    """What a cost that was measured some minibatches ago counts against a predicted one."""
    fading = (_MEMORY_MINIBATCHES - age) / (_MEMORY_MINIBATCHES - _TRUSTED_MINIBATCHES)
    return min(max(fading, 0.0), 1.0)
