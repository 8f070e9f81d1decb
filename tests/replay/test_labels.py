import numpy as np
import pytest

from gnnflow.cache.steered import HaloCacheView
from gnnflow.cache.transfer import Transfer
from gnnflow.policies import Decision, features
from gnnflow.policies.static import StaticPolicy
from gnnflow.replay import ReplaySettings, TraceFacts, TraceRecorder, replay_trace
from gnnflow.replay.labels import collect_situations, try_both
from gnnflow.replay.policy_replay import replay_with_policy
from gnnflow.replay.replay import Replay

DECAY = ReplaySettings(scorer="decay", capacity=40, period=4)


@pytest.fixture(scope="module")
def trace():
    facts = TraceFacts(graph="made up", rank=0, num_ranks=2, row_bytes=64)
    recorder = TraceRecorder(facts, np.arange(300), np.ones(300, dtype=np.int64))
    rng = np.random.default_rng(0)
    for minibatch in range(80):
        favourites = np.arange(40) + 100 * (minibatch // 30)
        used = favourites[rng.random(40) < 0.6]
        recorder.add(rng.permutation(np.union1d(used, rng.choice(300, 10, replace=False))))
    return recorder.trace()


class Seen:
    """Replaces now and then and keeps what it was asked."""

    name = "seen"

    def __init__(self):
        self.observations = {}

    def decide(self, observation):
        self.observations[observation.minibatch] = observation
        return Decision(replace=observation.minibatch % 7 == 0)


def test_a_static_policy_is_the_schedule_of_the_replay(trace):
    steered = replay_with_policy(trace, DECAY, StaticPolicy(4))
    scheduled = replay_trace(trace, DECAY)
    np.testing.assert_array_equal(steered.result.rows_hit, scheduled.rows_hit)
    np.testing.assert_array_equal(steered.result.rows_filled, scheduled.rows_filled)
    assert steered.statistics.summary()["decisions"] == 79


def test_observations_count_what_the_cache_did(trace):
    policy = Seen()
    result = replay_with_policy(trace, DECAY, policy).result
    for minibatch, observation in policy.observations.items():
        latest = slice(max(minibatch - 7, 0), minibatch + 1)
        assert observation.window.hit_rows == result.rows_hit[latest].sum()
        assert observation.window.filled_rows == result.rows_filled[latest].sum()
        assert observation.window.moved_rows == result.rows_fetched[latest].sum()


def test_labels_show_what_policies_see_and_leave_the_replay_alone(trace):
    policy = Seen()
    situations = list(collect_situations(trace, DECAY, policy, group="g", horizon=8, label_every=3))
    alone = Seen()
    replay_with_policy(trace, DECAY, alone)
    assert alone.observations == policy.observations
    for situation in situations:
        observation = policy.observations[situation.observation.minibatch]
        assert situation.observation == observation
        np.testing.assert_array_equal(features(situation.observation), features(observation))
    assert {situation.replace for situation in situations} == {True, False}


def test_the_label_is_the_difference_of_two_whole_replays(trace):
    moment, horizon = 38, 10
    run = Replay(trace, DECAY)
    for minibatch in range(moment):
        run.step(minibatch, 1.0 if minibatch % 9 == 0 else 0.0)
    both = try_both(trace, run.cache, moment, horizon)
    volumes = []
    for replace in (True, False):

        def decide(cache, minibatch, replace=replace):
            if minibatch < moment:
                return 1.0 if minibatch % 9 == 0 else 0.0
            return 1.0 if replace and minibatch == moment else 0.0

        result = replay_trace(trace.head(moment + horizon), DECAY, decide)
        volumes.append(int(result.rows_fetched[moment:].sum()))
    assert both.saved_rows == volumes[1] - volumes[0]
    assert both.volume_change == pytest.approx(volumes[0] / volumes[1] - 1)
    assert both.saved_rows > 0  # the favourites had changed


def test_the_view_plans_what_the_cache_does(trace):
    run = Replay(trace, DECAY)
    for minibatch in range(20):
        run.step(minibatch, 1.0 if minibatch % 9 == 0 else 0.0)
    view = HaloCacheView(run.cache, Transfer()).policy_view(8)
    assert view.occupied_rows == run.cache.num_cached
    cached = set(run.cache.cached_ids().tolist())
    assert set(view.plan.outgoing.tolist()) <= cached
    assert not set(view.plan.incoming.tolist()) & cached
    assert len(view.plan.incoming) >= len(view.plan.outgoing)
    nothing = np.zeros(0, dtype=np.int64)
    run.cache.commit(run.cache.plan(nothing))
    assert set(view.plan.incoming.tolist()) <= set(run.cache.cached_ids().tolist())


def test_scorers_that_keep_what_arrives_plan_no_fetch(trace):
    run = Replay(trace, ReplaySettings(scorer="lru", capacity=40))
    run.step(0, 1.0)
    plan = HaloCacheView(run.cache, Transfer()).policy_view(8).plan
    assert len(plan.incoming) == len(plan.outgoing) == 0
