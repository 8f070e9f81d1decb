import json

import pytest
from made_up import make_observation

from gnnflow.config import PolicyConfig
from gnnflow.errors import ConfigError, DataError
from gnnflow.policies import (
    Decision,
    Outcome,
    PolicyError,
    RankInfo,
    known_policies,
    make_policy,
    registry,
)
from gnnflow.policies.auto import AutoPolicy
from gnnflow.policies.bandit import BanditPolicy
from gnnflow.policies.static import NonePolicy, StaticPolicy

GOOD = {"incoming_uses": 0.5, "outgoing_uses": 0.0}
BAD = {"incoming_uses": 0.05, "outgoing_uses": 0.2}


def outcome(saved):
    return Outcome(minibatches=8, hit_rate_change=0.0, volume_change=0.0, saved_rows=saved)


def test_none_keeps_still_and_static_counts():
    assert not NonePolicy().decide(make_observation()).replace
    assert StaticPolicy(12).decide(make_observation(minibatches_since_replacement=12)).replace
    assert StaticPolicy(81).decide(make_observation()).replace  # with the last of the first period
    assert not StaticPolicy(13).decide(make_observation(minibatches_since_replacement=12)).replace
    assert not StaticPolicy(0).decide(make_observation()).replace


@pytest.mark.parametrize("policy", [AutoPolicy(), BanditPolicy()], ids=lambda policy: policy.name)
def test_the_rules_replace_what_pays(policy):
    assert policy.decide(make_observation(**GOOD)).replace
    assert not policy.decide(make_observation(**BAD)).replace
    assert not policy.decide(make_observation(**GOOD, incoming_rows=0)).replace
    assert policy.decide(make_observation(**GOOD)).expected_volume_change < 0


def test_auto_does_not_replace_at_the_end_of_a_run():
    assert not AutoPolicy().decide(make_observation(**GOOD, minibatch=199)).replace


def test_auto_learns_how_much_of_a_prediction_comes_true():
    policy = AutoPolicy()
    observation = make_observation(**GOOD)
    for _ in range(30):
        policy.feedback(observation, Decision(replace=True), outcome(-150.0))
    assert not policy.decide(observation).replace
    fresh = AutoPolicy()
    fresh.load_state(json.loads(json.dumps(policy.state())))
    assert fresh.decide(observation) == policy.decide(observation)


def test_the_bandit_learns_from_either_choice_and_keeps_its_state():
    policy = BanditPolicy()
    good, bad = make_observation(**GOOD), make_observation(**BAD)
    for _ in range(60):
        policy.feedback(good, Decision(replace=True), outcome(-500.0))
        policy.feedback(bad, Decision(replace=False), outcome(2_000.0))
    assert not policy.decide(good).replace
    assert policy.decide(bad).replace
    fresh = BanditPolicy()
    fresh.load_state(json.loads(json.dumps(policy.state())))
    assert fresh.decide(bad) == policy.decide(bad)


def test_the_bandit_learns_from_volume_where_the_saving_is_unknown():
    policy = BanditPolicy()
    good = make_observation(**GOOD)
    rising = Outcome(minibatches=8, hit_rate_change=0.0, volume_change=0.5)
    before = policy.decide(good).probability
    policy.feedback(good, Decision(replace=False), rising)
    assert policy.decide(good).probability == before
    policy.feedback(good, Decision(replace=True), rising)
    assert policy.decide(good).probability < before


def test_the_bandit_tries_rarely():
    policy = BanditPolicy()
    even = make_observation(incoming_uses=0.06, outgoing_uses=0.0, minibatches_since_replacement=3)
    rested = make_observation(
        incoming_uses=0.06, outgoing_uses=0.0, minibatches_since_replacement=32
    )
    assert not policy.decide(even).replace
    assert policy.decide(rested).replace
    assert "worth a try" in policy.decide(rested).explanation


def test_a_state_of_other_features_is_refused():
    state = BanditPolicy().state() | {"feature_version": 0}
    with pytest.raises(DataError, match="features of version 0"):
        BanditPolicy().load_state(state)


class FakeEntry:
    """Stands for an installed package's entry point."""

    def __init__(self, name, loaded):
        self.name, self.value, self._loaded = name, f"package:{name}", loaded

    def load(self):
        if isinstance(self._loaded, Exception):
            raise self._loaded
        return self._loaded


@pytest.fixture
def installed(monkeypatch):
    def install(name, loaded):
        monkeypatch.setattr(registry, "entry_points", lambda group: [FakeEntry(name, loaded)])

    return install


def test_installed_packages_can_add_policies(installed):
    installed("mine", lambda config, rank_info: StaticPolicy(rank_info.rank))
    assert "mine" in known_policies()
    policy = make_policy(PolicyConfig(policy="mine"), RankInfo(rank=2))
    assert policy.decide(make_observation(minibatches_since_replacement=2)).replace


def test_a_broken_package_is_named(installed):
    installed("mine", ImportError("no module named 'torchx'"))
    with pytest.raises(PolicyError, match=r"'mine' \(package:mine\) cannot be imported: no mod"):
        make_policy(PolicyConfig(policy="mine"), RankInfo())
    installed("mine", lambda config, rank_info: "a string")
    with pytest.raises(PolicyError, match="must have 'name' and 'decide', got a str"):
        make_policy(PolicyConfig(policy="mine"), RankInfo())


def test_an_unknown_policy_lists_the_known():
    with pytest.raises(ConfigError, match="known are auto, bandit, .*did you mean 'bandit'"):
        make_policy(PolicyConfig(policy="bandid"), RankInfo())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decide_every": 0}, "decide_every must be at least 1, got 0"),
        ({"llm_threads": 0}, "llm_threads must be at least 1"),
        ({"max_staleness": -1}, "max_staleness must not be negative, got -1"),
        ({"policy_timeout": 0.0}, "policy_timeout must be positive seconds"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ConfigError, match=message):
        PolicyConfig(**options)
