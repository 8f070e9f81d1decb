"""One rank's steering: counters in after every minibatch, decisions out; live and in replay."""

import dataclasses
import logging
import math
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.config import PolicyConfig
from gnnflow.errors import GnnflowError
from gnnflow.policies.controller import Answer, PolicyController
from gnnflow.policies.decision import (
    WIRE_DTYPES,
    Decision,
    Outcome,
    RankInfo,
    ReplacementPolicy,
)
from gnnflow.policies.decision_log import DecisionLog, DecisionStatistics, decision_log_name
from gnnflow.policies.measured_effects import (
    EffectMeter,
    PlanTracker,
    ReplacementPlan,
    SteeredCache,
    view_state,
)
from gnnflow.policies.observation import (
    MinibatchCounters,
    Observation,
    PastDecision,
    RunFacts,
    Window,
)
from gnnflow.policies.registry import check_policy_name, make_policy

_LOGGER = logging.getLogger(__name__)
_HELD_FOR = 8
# An answer of a small model takes a twentieth of a second of a core. Asked more often by the ranks
# of a machine, a server is either late with every answer or slows training down.
_LANGUAGE_MODEL_EVERY = 16
# Their answer takes well under a millisecond: asked in place, runs repeat exactly.
_INSTANT_POLICIES = ("none", "static", "auto", "bandit")


@dataclass(slots=True)
class _Pending:
    """A decision that is being carried out and measured."""

    answer: Answer
    decision: Decision
    meter: EffectMeter


class Steering:
    """Makes observations from counters, asks the controller, measures effects and logs them."""

    def __init__(
        self,
        controller: PolicyController,
        facts: RunFacts,
        *,
        rank: int = 0,
        decide_every: int | None = None,
        window: int = 8,
        horizon: int = 16,
        history: int = 4,
        max_tracked: int | None = None,
        log: DecisionLog | None = None,
    ) -> None:
        """Starts before the first minibatch.

        Args:
            controller: asks the policy; closed by `close`.
            facts: what stays the same during the run.
            rank: this rank.
            decide_every: minibatches between two questions; by default 1, and 8 with free
                admission, where a decision holds until the next.
            window: minibatches of an observation's window.
            horizon: minibatches over which effects are measured.
            history: past decisions shown to the policy.
            max_tracked: plans watched at the same time for what they save; by default those of
                all decisions within the horizon.
            log: where answers are written.
        """
        self._controller = controller
        self._facts = facts
        self._rank = rank
        default = _HELD_FOR if facts.free_admission else 1
        self._decide_every = default if decide_every is None else decide_every
        self._window = window
        self._horizon = horizon
        self._max_tracked = horizon if max_tracked is None else max_tracked
        self._log = log
        self.log_problem: GnnflowError | None = None
        """Why decisions are missing in the log, once it is closed."""
        self._latest: deque[MinibatchCounters] = deque(maxlen=2 * window)
        self._latest_ids: deque[NDArray[np.int64]] = deque(maxlen=window)
        self._history: deque[PastDecision] = deque(maxlen=history)
        self._pending: deque[_Pending] = deque()
        self._since_replacement = 0
        self._is_followed = False
        self._is_closed = False
        self._lock = threading.Lock()
        self.statistics = DecisionStatistics()

    @property
    def is_followed(self) -> bool:
        """Whether the policy steers: it has answered, and its last answer was a decision.

        Until then, and from a failed or missing answer to the next good one, the cache goes by the
        schedule of the run.
        """
        return self._is_followed

    @property
    def free_admission(self) -> bool:
        """Whether a replacement keeps rows that arrive anyway: a decision holds until the next."""
        return self._facts.free_admission

    def note_replacement(self) -> None:
        """Takes account of a replacement by the schedule of the run."""
        self._since_replacement = 0

    def after_minibatch(
        self,
        counters: MinibatchCounters,
        cache: SteeredCache,
        remote_ids: NDArray[np.int64],
    ) -> Decision | None:
        """Takes account of a minibatch and says what to do before the next one.

        Args:
            counters: what the minibatch cost, earlier replacements' rows included.
            cache: shows itself where a decision is due.
            remote_ids: distinct remote rows of the minibatch, int64 `[num_rows]`.

        Returns:
            A decision to carry out now, settings cut to what the run allows, or None to go on as
            before.
        """
        with self._lock:
            return None if self._is_closed else self._take_account(counters, cache, remote_ids)

    def policy_state(self) -> dict[str, Any] | None:
        """What the policy has learnt, for a checkpoint; None if it learns nothing."""
        return self._controller.policy_state()

    def load_policy_state(self, state: dict[str, Any]) -> None:
        """Lets the policy go on with what a checkpoint holds."""
        self._controller.load_policy_state(state)

    def close(self) -> None:
        """Ends the policy; effects that are still being measured are logged as far as they got."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            while self._pending:
                pending = self._pending.popleft()
                known = pending.meter.num_minibatches > 0
                self._finish(pending, pending.meter.outcome() if known else None)
        self._controller.close()
        self._tell_if_undecided()
        if self._log is not None:
            self.log_problem = self._log.problem
            self._log.close()

    def _tell_if_undecided(self) -> None:
        """Says in a line that a run has ended in which the policy did not once decide, and why."""
        answers, points, busy = (
            self.statistics.statuses,
            self.statistics.points,
            self.statistics.busy,
        )
        if answers["valid"]:
            return
        loading = self._controller.num_missed_loading
        if not points and self._latest and not self._controller.is_waited_for:
            _LOGGER.warning(
                "policy: it was never asked: the run ended before its first decision point, after "
                "minibatch %d; a smaller --decide-every asks earlier",
                self._decide_every - 1,
            )
        elif busy or answers["stale"]:
            causes = {
                "while loading": loading,
                "while busy": busy - loading,
                "by answers that came too late": answers["stale"] + answers["timeout"],
                "by faults": answers["failed"],
            }
            told = ", ".join(f"{count} {cause}" for cause, count in causes.items() if count)
            _LOGGER.warning(
                "policy: it took no decision in this run: of %d decision points it missed %s; %s",
                *(points, told, _remedy(self._controller, answers["stale"] > 0)),
            )

    def _take_account(
        self, counters: MinibatchCounters, cache: SteeredCache, remote_ids: NDArray[np.int64]
    ) -> Decision | None:
        ordered_ids = np.sort(remote_ids)
        self._latest.append(counters)
        self._latest_ids.append(ordered_ids)
        self._since_replacement += 1
        self._measure(counters, ordered_ids)
        decision = self._collect(counters.minibatch, cache)
        if (counters.minibatch + 1) % self._decide_every == 0:
            asked = self._controller.is_ready
            if asked:
                self._controller.ask(self._observe(counters.minibatch, cache))
            else:
                self._controller.note_missed()
            self.statistics.add_point(asked=asked)
            # A synchronous policy has answered by now, an asynchronous one rarely has.
            newer = self._collect(counters.minibatch, cache)
            decision = newer if newer is not None else decision
        return decision

    def _observe(self, minibatch: int, cache: SteeredCache) -> Observation:
        counters = list(self._latest)
        return Observation(
            rank=self._rank,
            minibatch=minibatch,
            minibatches_since_replacement=self._since_replacement,
            facts=self._facts,
            window=Window.of(counters[-self._window :]),
            before=Window.of(counters[: -self._window]),
            state=view_state(cache.policy_view(self._window), list(self._latest_ids)),
            history=tuple(self._history),
        )

    def _collect(self, minibatch: int, cache: SteeredCache) -> Decision | None:
        answer = self._controller.take(minibatch)
        if answer is None:
            return None
        if answer.status in ("failed", "timeout"):
            self._is_followed = False
        if answer.status != "valid" or answer.decision is None:
            self._record(answer, None)
            return None
        self._is_followed = True
        decision = _within_bounds(answer.decision, self._facts)
        if decision.replace:
            self._since_replacement = 0
        tracked = sum(pending.meter.tracker is not None for pending in self._pending)
        tracker = None
        if tracked < self._max_tracked:
            plan = cache.policy_view(self._window).plan
            tracker = None if self._facts.free_admission else PlanTracker(_share(plan, decision))
        meter = EffectMeter(answer.observation.window, tracker)
        self._pending.append(_Pending(answer, decision, meter))
        return decision

    def _measure(self, counters: MinibatchCounters, ordered_ids: NDArray[np.int64]) -> None:
        for pending in self._pending:
            pending.meter.add(counters, ordered_ids)
        while self._pending and self._pending[0].meter.num_minibatches >= self._horizon:
            pending = self._pending.popleft()
            self._finish(pending, pending.meter.outcome())

    def _finish(self, pending: _Pending, outcome: Outcome | None) -> None:
        if outcome is not None:
            past = PastDecision(
                minibatch=pending.decision.minibatch,
                replace=pending.decision.replace,
                hit_rate_change=outcome.hit_rate_change,
                volume_change=outcome.volume_change,
            )
            self._history.append(past)
            self._controller.feedback(pending.answer.observation, pending.decision, outcome)
        self._record(pending.answer, outcome)

    def _record(self, answer: Answer, outcome: Outcome | None) -> None:
        self.statistics.add(answer, outcome)
        if self._log is not None:
            self._log.write(answer, outcome)


def _remedy(controller: PolicyController, is_stale: bool) -> str:
    if controller.is_waited_for:
        return "a larger --policy-timeout waits longer"
    older = ", a larger --max-staleness takes older answers" if is_stale else ""
    return (
        "--policy-mode sync waits for it, a larger --decide-every leaves it more time"
        f"{older}; the schedule of --period did what was done"
    )


def _share(plan: ReplacementPlan, decision: Decision) -> ReplacementPlan:
    """The part of a plan that a decision carries out; all of it if it keeps still."""
    if decision.fraction is None:
        return plan
    num_incoming = math.ceil(decision.fraction * len(plan.incoming))
    num_free = len(plan.incoming) - len(plan.outgoing)
    return ReplacementPlan(
        incoming=plan.incoming[:num_incoming],
        outgoing=plan.outgoing[: max(num_incoming - num_free, 0)],
    )


def _within_bounds(decision: Decision, facts: RunFacts) -> Decision:
    """Cuts the settings of a decision to what the run allows."""
    lookahead, exchange_every = decision.lookahead, decision.exchange_every
    if lookahead is not None:
        lookahead = min(lookahead, facts.max_lookahead) or None
    if exchange_every is not None:
        exchange_every = min(exchange_every, facts.max_exchange_every)
    wire_dtype = decision.wire_dtype
    if wire_dtype not in WIRE_DTYPES or wire_dtype not in facts.wire_dtypes:
        wire_dtype = None
    return dataclasses.replace(
        decision, lookahead=lookahead, exchange_every=exchange_every, wire_dtype=wire_dtype
    )


def start_steering(
    config: PolicyConfig,
    facts: RunFacts,
    rank_info: RankInfo,
    policy: ReplacementPolicy | None = None,
) -> Steering:
    """Starts the policy of a config on one rank, logging to the folder of the run if there is one.

    A policy that cannot be built (a missing package, a damaged model) does not stop the run: it is
    logged and every question counts as failed.

    Args:
        config: the options.
        facts: what stays the same during the run.
        rank_info: where it runs.
        policy: an object to ask instead of the policy that the config names.

    Raises:
        ConfigError: if no policy has the name that the config gives.
    """
    if policy is None:
        check_policy_name(config.policy)
    is_instant = policy is None and config.policy in _INSTANT_POLICIES
    controller = PolicyController(
        lambda: make_policy(config, rank_info) if policy is None else policy,
        mode="sync" if is_instant else config.policy_mode,
        max_staleness=config.max_staleness,
        timeout_s=None if is_instant else config.policy_timeout,
    )
    log = None
    if rank_info.run_dir is not None:
        log = DecisionLog(rank_info.run_dir / decision_log_name(rank_info.rank))
    decide_every = config.decide_every
    asks_own_server = policy is None and config.policy == "llm" and config.llm_url is None
    if decide_every is None and asks_own_server and config.policy_mode == "async":
        decide_every = _LANGUAGE_MODEL_EVERY
    return Steering(controller, facts, rank=rank_info.rank, decide_every=decide_every, log=log)
