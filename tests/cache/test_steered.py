import numpy as np
import pytest
from trace_maker import make_trace

from gnnflow.cache.transfer import every
from gnnflow.policies import Decision
from gnnflow.replay import ReplaySettings, replay_trace
from gnnflow.replay.policy_replay import replay_with_policy

TRACE = make_trace(2, num_minibatches=60)
DECAY = ReplaySettings(scorer="decay", capacity=60, period=5, alpha=0.2)
LRU = ReplaySettings(scorer="lru", capacity=40, fill="degree", period=3)


class Scripted:
    """Decides by a function of the observed minibatch; None fails."""

    name = "scripted"

    def __init__(self, script):
        self.script = script
        self.asked = []

    def decide(self, observation):
        self.asked.append(observation.minibatch)
        answer = self.script(observation.minibatch)
        if answer is None:
            raise RuntimeError("no idea")
        return answer if isinstance(answer, Decision) else Decision(replace=answer)


def same(first, second):
    return all(
        np.array_equal(getattr(first, name), getattr(second, name))
        for name in ("rows_hit", "rows_filled", "num_evicted")
    )


@pytest.mark.parametrize("settings", [DECAY, LRU], ids=["decay", "lru"])
def test_the_schedule_goes_on_while_the_policy_fails(settings):
    played = replay_with_policy(TRACE, settings, Scripted(lambda minibatch: None))
    assert same(played.result, replay_trace(TRACE, settings))
    assert played.statistics.summary()["failed_share"] == 1.0


def test_a_policy_that_fails_for_a_while_is_replaced_by_the_schedule():
    failing = range(20, 40)
    policy = Scripted(lambda minibatch: None if minibatch in failing else False)
    played = replay_with_policy(TRACE, DECAY, policy)
    # Minibatch m + 1 goes by what was said about minibatch m; the very first one by the schedule.
    scheduled = every(DECAY.period)

    def decide(cache, minibatch):
        is_scheduled = minibatch == 0 or minibatch - 1 in failing
        return scheduled(cache, minibatch) if is_scheduled else 0.0

    assert same(played.result, replay_trace(TRACE, DECAY, decide))


def test_a_decision_holds_where_arrivals_are_free():
    policy = Scripted(lambda minibatch: minibatch // 8 % 2 == 0)
    played = replay_with_policy(TRACE, LRU, policy)
    assert policy.asked == list(range(7, 59, 8))

    def decide(cache, minibatch):
        if minibatch < 8:
            return every(LRU.period)(cache, minibatch)
        return float((minibatch // 8 - 1) % 2 == 0)

    assert same(played.result, replay_trace(TRACE, LRU, decide))


def test_a_share_and_a_window_are_followed():
    settings = ReplaySettings(scorer="lookahead", capacity=30, lookahead=2)
    trace = make_trace(
        2,
        num_minibatches=60,
        settings={"policy_bounds": {"max_lookahead": 6, "wire_dtypes": ["stored"]}},
    )
    wish = Decision(replace=True, fraction=0.5, lookahead=20, wire_dtype="int8")
    played = replay_with_policy(trace, settings, Scripted(lambda minibatch: wish))
    assert set(played.result.window[:8]) == {2}
    assert set(played.result.window[10:50]) == {6}
