"""Asks a policy beside training, and keeps whatever it does from disturbing training."""

import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from gnnflow.errors import kind_and_line
from gnnflow.policies.decision import (
    ClosablePolicy,
    Decision,
    LearningPolicy,
    Outcome,
    ReplacementPolicy,
    StatefulPolicy,
    validate_decision,
)
from gnnflow.policies.observation import Observation

Status = Literal["valid", "stale", "failed", "timeout"]

_LOGGER = logging.getLogger(__name__)
_START_LIMIT_S = 240.0
_STATE_LIMIT_S = 5.0
_JOIN_LIMIT_S = 5.0
_MAX_KINDS = 12
# A policy that calls sys.exit() must not end the training thread of a synchronous run.
_POLICY_FAULTS = (Exception, SystemExit)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came of one question."""

    observation: Observation
    """What was asked about."""

    status: Status
    """Whether the decision is followed (valid), too old, or missing, and why."""

    decision: Decision | None
    """The decision; None if there was none (failed, timeout)."""

    error: str | None
    """What went wrong, in a line."""

    latency_s: float
    """Seconds from question to answer."""


@dataclass(slots=True)
class _Question:
    observation: Observation
    asked_at: float
    answered_at: float = 0.0
    done: threading.Event = field(default_factory=threading.Event)
    given_up: bool = False
    decision: Decision | None = None
    error: str | None = None


class PolicyController:
    """Asks one policy, one question at a time, and waits no longer than it may.

    In mode `async` a worker thread builds the policy and answers while training goes on. In mode
    `sync` the caller waits for the answer, up to `timeout_s`; without a time-out the policy runs in
    the caller's thread, which is what replay does. A policy that cannot be built, raises, is late
    or returns nonsense costs an `Answer` that says so, never an exception.
    """

    def __init__(
        self,
        make_policy: Callable[[], ReplacementPolicy],
        *,
        mode: Literal["async", "sync"] = "async",
        max_staleness: int = 16,
        timeout_s: float | None = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts building the policy.

        Args:
            make_policy: builds the policy; runs on the worker thread and may fail.
            mode: whether `ask` returns at once (async) or with the answer (sync).
            max_staleness: minibatches after which an answer is too old.
            timeout_s: seconds to wait for an answer; None runs a sync policy in the calling thread.
            clock: seconds, for latencies and time-outs.
        """
        self._make_policy = make_policy
        self._mode = mode
        self._max_staleness = max_staleness
        self._timeout_s = timeout_s
        self._clock = clock
        self._policy: ReplacementPolicy | None = None
        self._build_error: str | None = None
        self._built = threading.Event()
        self._question: _Question | None = None
        self._last_state: dict[str, Any] | None = None
        self._known_errors: set[str] = set()
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._worker: threading.Thread | None = None
        self._in_place = threading.Lock()  # a checkpoint may ask for the state from another thread
        self._closed = False
        self._started_late = False
        self._started_at = clock()
        self._num_missed_loading = 0
        if mode == "async" or timeout_s is not None:
            self._worker = threading.Thread(target=self._work, name="gnnflow-policy", daemon=True)
            self._worker.start()
        else:
            self._build()

    @property
    def policy(self) -> ReplacementPolicy | None:
        """The policy, once it is built."""
        return self._policy

    @property
    def is_ready(self) -> bool:
        """Whether the policy is built and not busy; a synchronous one is waited for."""
        if self._question is not None:
            return False
        if self._mode == "sync" and not self._built.is_set() and not self._started_late:
            # Waited for once: a policy that does not start must not hold up every minibatch.
            self._started_late = not self._built.wait(_START_LIMIT_S)
            if self._started_late:
                self._warn(f"not ready after {_START_LIMIT_S:g} s")
        return self._built.is_set()

    def ask(self, observation: Observation) -> bool:
        """Puts a question, unless the policy is still building or busy with the last one.

        Returns:
            Whether the question was put; `take` gives the answer.
        """
        if not self.is_ready:
            return False
        question = _Question(observation, self._clock())
        self._question = question
        if self._worker is None:
            with self._in_place:
                self._answer(question)
        else:
            self._tasks.put(lambda: self._answer(question))
            if self._mode == "sync":
                question.done.wait(self._timeout_s)
        return True

    @property
    def num_missed_loading(self) -> int:
        """Decision points that came while the policy was being built."""
        return self._num_missed_loading

    @property
    def is_waited_for(self) -> bool:
        """Whether the caller waits for answers."""
        return self._mode == "sync"

    def note_missed(self) -> None:
        """Takes account of a decision point at which the policy was not ready, and says so once.

        What a synchronous policy missed was told when it was given up.
        """
        question = self._question
        self._num_missed_loading += question is None
        if self._mode == "sync":
            return
        if question is not None:
            self._warn_once(
                "busy",
                f"{self._clock() - question.asked_at:.1f} s after the question of minibatch "
                f"{question.observation.minibatch} it is still busy and misses a decision point: "
                "a larger --decide-every asks less often, --policy-mode sync waits for answers",
            )
            return
        self._warn_once(
            "loading",
            f"it is still loading after {self._clock() - self._started_at:.1f} s and misses a "
            "decision point: --policy-mode sync waits for it",
        )

    def take(self, minibatch: int) -> Answer | None:
        """Takes the answer to the last question, if there is one by now.

        Args:
            minibatch: the minibatch that just ended; tells how old the answer is.

        Returns:
            The answer, once; None as long as the policy thinks.
        """
        question = self._question
        if question is None:
            return None
        if not question.done.is_set():
            waited = self._clock() - question.asked_at
            out_of_time = self._timeout_s is not None and waited >= self._timeout_s
            if question.given_up or not (out_of_time or self._mode == "sync"):
                return None
            question.given_up = True  # the worker stays busy; what it says later is thrown away
            message = f"no answer within {self._timeout_s:g} s" if self._timeout_s else "no answer"
            self._warn(message)
            return Answer(
                observation=question.observation,
                status="timeout",
                decision=None,
                error=message,
                latency_s=waited,
            )
        self._question = None
        if question.given_up:
            return None
        return self._judge(question, minibatch)

    def feedback(self, observation: Observation, decision: Decision, outcome: Outcome) -> None:
        """Tells the policy what came of a decision, if it wants to know."""

        def tell() -> None:
            if isinstance(self._policy, LearningPolicy):
                self._policy.feedback(observation, decision, outcome)

        self._do(tell, "feedback")

    def policy_state(self) -> dict[str, Any] | None:
        """What the policy has learnt, for a checkpoint.

        Returns:
            Its state as JSON values; the last known one if it stays busy; None if it has none.
        """
        if self._closed:
            return self._last_state
        done = threading.Event()

        def get() -> None:
            self._remember_state()
            done.set()

        self._do(get, "state")
        done.wait(_STATE_LIMIT_S)
        return self._last_state

    def load_policy_state(self, state: dict[str, Any]) -> None:
        """Gives the policy a state from a checkpoint, before the next question."""
        self._last_state = state

        def load() -> None:
            if isinstance(self._policy, StatefulPolicy):
                self._policy.load_state(state)

        self._do(load, "load_state")

    def close(self) -> None:
        """Ends the worker and closes the policy; a policy that hangs is left behind.

        What it has learnt can still be asked for.
        """
        if self._closed:
            return
        self._closed = True
        if self._worker is None:
            self._remember_state()
            self._close_policy()
            return
        self._tasks.put(None)
        self._worker.join(_JOIN_LIMIT_S)
        if self._worker.is_alive():
            # Closing what a hanging policy waits for (a server, a connection) may free it.
            self._close_policy()
            self._worker.join(_JOIN_LIMIT_S)

    def _work(self) -> None:
        self._build()
        while (task := self._tasks.get()) is not None:
            task()
        self._remember_state()
        self._close_policy()

    def _build(self) -> None:
        try:
            self._policy = self._make_policy()
        except _POLICY_FAULTS as error:
            self._build_error = kind_and_line(error)
            self._warn(self._build_error)
        missed = self._num_missed_loading
        if missed and self._policy is not None:
            _LOGGER.warning(
                "policy: ready after %.1f s of loading, %d decision points were missed",
                *(self._clock() - self._started_at, missed),
            )
        self._built.set()

    def _answer(self, question: _Question) -> None:
        try:
            if self._policy is None:
                question.error = self._build_error
            else:
                question.decision = validate_decision(self._policy.decide(question.observation))
        except _POLICY_FAULTS as error:
            question.error = kind_and_line(error)
        question.answered_at = self._clock()
        question.done.set()

    def _judge(self, question: _Question, minibatch: int) -> Answer:
        latency_s = question.answered_at - question.asked_at
        observed = question.observation.minibatch
        if question.decision is None:
            self._warn(question.error or "no reason given")
            return Answer(
                observation=question.observation,
                status="failed",
                decision=None,
                error=question.error,
                latency_s=latency_s,
            )
        decision = dataclasses.replace(question.decision, minibatch=observed, latency_s=latency_s)
        age = minibatch - observed
        is_stale = age > self._max_staleness
        return Answer(
            observation=question.observation,
            status="stale" if is_stale else "valid",
            decision=decision,
            error=f"{age} minibatches old, at most {self._max_staleness}" if is_stale else None,
            latency_s=latency_s,
        )

    def _do(self, task: Callable[[], None], what: str) -> None:
        def guarded() -> None:
            try:
                task()
            except _POLICY_FAULTS as error:
                self._warn(f"{what}: {kind_and_line(error)}")

        if self._worker is None:
            with self._in_place:
                guarded()
        else:
            self._tasks.put(guarded)

    def _remember_state(self) -> None:
        if isinstance(self._policy, StatefulPolicy):
            try:
                self._last_state = self._policy.state()
            except _POLICY_FAULTS as error:
                self._warn(f"state: {kind_and_line(error)}")

    def _close_policy(self) -> None:
        policy = self._policy
        if isinstance(policy, ClosablePolicy):
            try:
                policy.close()
            except _POLICY_FAULTS as error:
                self._warn(f"close: {kind_and_line(error)}")

    def _warn(self, message: str) -> None:
        """Logs each kind of trouble once; the counters say how often it came."""
        self._warn_once(message, message)

    def _warn_once(self, kind: str, message: str) -> None:
        # Servers put times and numbers into what they say, so that it never comes twice.
        if kind not in self._known_errors and len(self._known_errors) < _MAX_KINDS:
            self._known_errors.add(kind)
            _LOGGER.warning("policy: %s; training goes on as before", message)
