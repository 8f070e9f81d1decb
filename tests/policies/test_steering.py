import dataclasses
import json
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import FACTS, ToyCache, counters

from gnnflow.config import PolicyConfig
from gnnflow.errors import ConfigError
from gnnflow.files.json_record import read_record
from gnnflow.policies import (
    Decision,
    DecisionLog,
    DecisionStatistics,
    Observation,
    PlanTracker,
    PolicyController,
    RankInfo,
    ReplacementPlan,
    Steering,
    decision_log_name,
    start_steering,
)
from gnnflow.policies import steering as steering_module
from gnnflow.policies.rivals import RIVALS

NOTHING = np.array([], dtype=np.int64)


class Scripted:
    """Gives the decisions of a list, then keeps still; keeps what it saw."""

    name = "scripted"

    def __init__(self, *decisions):
        self.decisions = list(decisions)
        self.seen = []
        self.told = []

    def decide(self, observation):
        self.seen.append(observation)
        return self.decisions.pop(0) if self.decisions else Decision(replace=False)

    def feedback(self, observation, decision, outcome):
        self.told.append((observation.minibatch, decision.replace, outcome))


def steer(policy, log=None, facts=FACTS, **options):
    controller = PolicyController(lambda: policy, mode="sync", timeout_s=None)
    return Steering(controller, facts, rank=1, log=log, **options)


def test_observations_hold_the_latest_windows():
    policy = Scripted()
    steering = steer(policy, window=2)
    for minibatch in range(5):
        steering.after_minibatch(counters(minibatch, 100, 10 * minibatch), ToyCache(), NOTHING)
    first, last = policy.seen[0], policy.seen[-1]
    assert first.window.minibatches == 1 and first.before.minibatches == 0
    assert first.hit_rate_change == 0.0
    assert last.hit_rate == pytest.approx(0.35)
    assert last.before.hit_rate == pytest.approx(0.15)
    assert last.minibatches_since_replacement == 5
    assert last.remaining_minibatches == FACTS.num_minibatches - 5


def test_decisions_come_every_few_minibatches():
    policy = Scripted(Decision(replace=True))
    steering = steer(policy, decide_every=3)
    given = [steering.after_minibatch(counters(step), ToyCache(), NOTHING) for step in range(7)]
    assert [decision is not None for decision in given] == [False, False, True] * 2 + [False]
    assert given[2].replace and given[2].minibatch == 2
    assert policy.seen[1].minibatches_since_replacement == 3


def test_effects_are_measured_over_the_horizon():
    policy = Scripted(Decision(replace=True))
    steering = steer(policy, window=2, horizon=2, decide_every=2)
    cache = ToyCache()
    for step, (hits, filled) in enumerate([(50, 0), (50, 0), (60, 10), (70, 0)]):
        # Each incoming row is used in each minibatch, and two of the outgoing ones.
        used = np.r_[np.arange(100, 110), 0, 1]
        steering.after_minibatch(counters(step, 100, hits, filled), cache, used)
    ((minibatch, replaced, outcome),) = policy.told
    assert (minibatch, replaced, outcome.minibatches) == (1, True, 2)
    assert outcome.hit_rate_change == pytest.approx(0.15)
    assert outcome.volume_change == pytest.approx((40 + 10 + 30) / 2 / 50 - 1)
    assert outcome.saved_rows == 2 * 10 - 2 * 2 - 10
    past = policy.seen[-1].history[-1]
    assert (past.minibatch, past.replace) == (1, True)
    assert past.volume_change == outcome.volume_change


def test_what_keeping_still_missed_is_known_too():
    policy = Scripted(Decision(replace=False))
    steering = steer(policy, horizon=1)
    for step in range(2):
        steering.after_minibatch(counters(step), ToyCache(), np.arange(100, 109))
    assert policy.told[0][2].saved_rows == 9 - 10
    steering.close()
    assert steering.statistics.summary()["pass_at_1"] == 1.0


def test_two_choices_that_are_equally_good_are_not_judged():
    policy = Scripted(Decision(replace=False))
    steering = steer(policy, horizon=1)
    for step in range(2):
        steering.after_minibatch(counters(step), ToyCache(), np.arange(100, 110))
    assert policy.told[0][2].saved_rows == 0.0
    assert steering.statistics.judged == 0
    steering.close()


def test_settings_are_cut_to_the_bounds_of_the_run():
    wish = Decision(replace=False, lookahead=64, exchange_every=9, wire_dtype="int8")
    decision = steer(Scripted(wish)).after_minibatch(counters(0), ToyCache(), NOTHING)
    assert (decision.lookahead, decision.exchange_every, decision.wire_dtype) == (None, 1, None)
    facts = dataclasses.replace(
        FACTS, max_lookahead=16, max_exchange_every=4, wire_dtypes=("stored", "int8")
    )
    decision = steer(Scripted(wish), facts=facts).after_minibatch(counters(0), ToyCache(), NOTHING)
    assert (decision.lookahead, decision.exchange_every, decision.wire_dtype) == (16, 4, "int8")


def test_every_answer_is_a_line_with_its_effect(tmp_path):
    class Moody(Scripted):
        def decide(self, observation):
            if observation.minibatch == 1:
                raise RuntimeError("no")
            return super().decide(observation)

    policy = Moody(Decision(replace=True, explanation="first", expected_volume_change=-0.2))
    path = tmp_path / "run" / decision_log_name(1)
    steering = steer(policy, DecisionLog(path), horizon=2)
    for step in range(4):
        steering.after_minibatch(counters(step), ToyCache(), NOTHING)
    steering.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    by_minibatch = {line["minibatch"]: line for line in lines}
    assert sorted(by_minibatch) == [0, 1, 2, 3]
    assert by_minibatch[1]["status"] == "failed"
    assert by_minibatch[1]["error"] == "RuntimeError: no"
    assert by_minibatch[0]["decision"]["explanation"] == "first"
    assert by_minibatch[0]["outcome"]["minibatches"] == 2
    assert by_minibatch[2]["outcome"]["minibatches"] == 1  # the run ended
    assert by_minibatch[3]["outcome"] is None
    # What the policy saw is what the file holds: training data comes from either.
    assert read_record(Observation, by_minibatch[0]["observation"]) == policy.seen[0]
    summary = steering.statistics.summary()
    assert summary["decisions"] == 4
    assert summary["failed_share"] == 0.25
    assert summary["replacements"] == 1
    assert summary["volume_agreement"] == 0.0


def test_statistics_of_ranks_add_up():
    parts = []
    for replace in (True, False):
        steering = steer(
            Scripted(Decision(replace=replace, expected_hit_rate_change=0.0)), horizon=4
        )
        for step in range(10):
            steering.after_minibatch(counters(step), ToyCache(), NOTHING)
        steering.close()
        parts.append(json.loads(json.dumps(steering.statistics.to_json())))
    summary = DecisionStatistics.merged(parts).summary()
    assert summary["decisions"] == summary["decision_points"] == 20
    assert summary["replacements"] == 1
    assert summary["pass_at_1"] == 17 / 18  # one plan was carried out in vain
    # The rivals are judged over the same decisions.
    assert (summary["pass_at_1_always_no"], summary["pass_at_1_always_yes"]) == (1.0, 0.0)
    assert 0 <= summary["pass_at_1_threshold"] <= 1
    assert summary["hit_rate_agreement"] == 1.0
    assert 0 <= summary["latency_median_s"] <= summary["latency_p95_s"]


def test_an_empty_run_has_no_figures():
    summary = DecisionStatistics().summary()
    assert summary["decisions"] == 0
    assert summary["valid_share"] is summary["pass_at_1"] is summary["latency_median_s"] is None
    assert all(summary[rival] is None for rival in RIVALS)


IDS = st.lists(st.integers(0, 60), unique=True, max_size=20).map(
    lambda values: np.array(values, dtype=np.int64)
)


@settings(max_examples=50)
@given(IDS, IDS, st.lists(IDS, max_size=5))
def test_the_saving_of_a_plan_is_the_difference_of_two_caches(cached, wished, minibatches):
    incoming = np.setdiff1d(wished, cached)
    outgoing = cached[: len(incoming)]
    tracker = PlanTracker(ReplacementPlan(incoming=incoming, outgoing=outgoing))
    still = set(cached.tolist())
    replaced = (still | set(incoming.tolist())) - set(outgoing.tolist())
    rows_still, rows_replaced = 0, len(incoming)
    for ids in minibatches:
        tracker.add(np.sort(ids))
        rows_still += sum(number not in still for number in ids.tolist())
        rows_replaced += sum(number not in replaced for number in ids.tolist())
    assert tracker.saved_rows == rows_still - rows_replaced


def test_start_steering_runs_a_named_policy(tmp_path):
    rank_info = RankInfo(rank=2, run_dir=tmp_path, period=3)
    steering = start_steering(PolicyConfig(policy="static"), FACTS, rank_info)
    cache = ToyCache()
    given = [steering.after_minibatch(counters(step), cache, NOTHING).replace for step in range(7)]
    steering.close()
    assert given == [False, True, False, False, True, False, False]
    assert len((tmp_path / "decisions-rank2.jsonl").read_text().splitlines()) == 7


def test_start_steering_refuses_an_unknown_name():
    with pytest.raises(ConfigError, match="unknown policy 'statc', known are .*mean 'static'"):
        start_steering(PolicyConfig(policy="statc"), FACTS, RankInfo())


@pytest.mark.parametrize(
    ("options", "every"),
    [
        ({}, 16),
        ({"decide_every": 10}, 10),
        ({"policy_mode": "sync"}, 1),
        ({"llm_url": "http://127.0.0.1:9/v1"}, 1),
    ],
)
def test_language_models_beside_training_are_asked_less_often(monkeypatch, options, every):
    monkeypatch.setattr(steering_module, "make_policy", lambda config, info: Scripted())
    steering = start_steering(PolicyConfig(policy="llm", **options), FACTS, RankInfo())
    for minibatch in range(32):
        steering.after_minibatch(counters(minibatch), ToyCache(), NOTHING)
    steering.close()
    assert steering.statistics.points == 32 // every


class Held(Scripted):
    """Answers once it may."""

    def __init__(self):
        super().__init__()
        self.go_on = threading.Event()

    def decide(self, observation):
        self.go_on.wait(10)
        return super().decide(observation)


def run_beside(policy, *, loads=True, answers=False, minibatches=4, **options):
    """Lets a policy, or its loading, take its time beside some minibatches."""

    def build():
        return policy if loads or policy.go_on.wait(10) else None

    controller = PolicyController(build, max_staleness=options.pop("max_staleness", 16))
    steering = Steering(controller, FACTS, **options)
    if loads:
        controller._built.wait(10)
    for minibatch in range(minibatches):
        steering.after_minibatch(counters(minibatch), ToyCache(), NOTHING)
        if answers:
            policy.go_on.set()
            controller._question.done.wait(10)
    policy.go_on.set()
    steering.close()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"loads": False}, "of 4 decision points it missed 4 while loading; --policy-mode sync"),
        ({}, "of 4 decision points it missed 3 while busy; --policy-mode sync waits for it, a la"),
        ({"answers": True, "max_staleness": 0},
         "missed 3 by answers that came too late; --policy-mode sync waits for it, a larger "
         "--decide-every leaves it more time, a larger --max-staleness takes older answers"),
        ({"decide_every": 16}, "it was never asked: the run ended before its first decision "
         "point, after minibatch 15; a smaller --decide-every asks earlier"),
    ],
)  # fmt: skip
def test_a_run_without_a_decision_says_so(caplog, options, told):
    run_beside(Held(), **options)
    assert told in caplog.messages[-1]
    assert sum("it took no decision" in message for message in caplog.messages) == (
        "decide_every" not in options
    )


def test_a_run_with_decisions_says_nothing(caplog):
    run_beside(Held(), answers=True)
    assert not caplog.messages
