import dataclasses
import json

import numpy as np
import pytest
from made_up import FACTS, make_observation

from gnnflow.policies.auto import AutoPolicy
from gnnflow.policies.bandit import BanditPolicy
from gnnflow.policies.classifier.classifier_policy import ClassifierPolicy
from gnnflow.policies.llm.calibration import UNCALIBRATED
from gnnflow.policies.llm.judge import Verdict
from gnnflow.policies.llm.llm_policy import LlmPolicy, PromptParts
from gnnflow.policies.llm.prompt import Prompt
from gnnflow.policies.transfer_choice import TransferBandit, TransferRule, TransferSetting, ladder

BOUNDS = {"wire_dtypes": ("stored", "bfloat16", "int8"), "max_exchange_every": 4}
COMPUTE_S = 0.1
STEPS = [
    TransferSetting("stored", 1),
    TransferSetting("bfloat16", 1),
    TransferSetting("int8", 1),
    TransferSetting("int8", 2),
    TransferSetting("int8", 4),
]


def observe(minibatch, wait_s, exchange_every=1, is_stall=True, **bounds):
    """A window of minibatches that wait some time each, for rows or within the step."""
    observation = make_observation(
        minibatch=minibatch,
        stall_s=8 * wait_s * is_stall,
        elapsed_s=8 * (COMPUTE_S + wait_s),
        exchange_every=exchange_every,
    )
    facts = dataclasses.replace(FACTS, **(BOUNDS | bounds))
    return dataclasses.replace(observation, facts=facts)


def steer(chooser, link, minibatches=range(0, 400, 4), is_stall=True):
    """Lets a chooser steer a link, given as waiting by minibatch and step."""
    chosen, step = [], STEPS[0]
    for minibatch in minibatches:
        step = chooser.choose(observe(minibatch, link(minibatch, step), is_stall=is_stall))
        chosen.append(step)
    return chosen


def test_the_ladder_has_what_the_run_allows():
    assert ladder(observe(0, 0.0), 1) == STEPS
    assert ladder(observe(0, 0.0, max_exchange_every=7), 3) == [
        *(TransferSetting(name, 3) for name in BOUNDS["wire_dtypes"]),
        TransferSetting("int8", 6),
    ]
    only = observe(0, 1.0, wire_dtypes=("stored",), max_exchange_every=1)
    assert TransferRule().choose(only) is None and TransferBandit().choose(only) is None


@pytest.mark.parametrize("is_stall", [True, False])
@pytest.mark.parametrize("make", [TransferRule, TransferBandit])
def test_a_link_that_slows_down_and_recovers(make, is_stall):
    def link(minibatch, step):
        return 0.4 * step.waiting if 100 <= minibatch < 250 else 0.0

    chosen = steer(make(), link, is_stall=is_stall)
    assert set(chosen[:25]) == {STEPS[0]}
    assert chosen[50].wire_dtype == "int8"
    assert chosen[-1] == STEPS[0]


@pytest.mark.parametrize("make", [TransferRule, TransferBandit])
def test_waiting_that_rows_are_not_to_blame_for(make):
    """Shorter rows do not help, so the run's own settings are used nearly all the time."""
    chosen = steer(make(), lambda minibatch, step: 0.1, range(0, 4000, 8))
    assert chosen.count(STEPS[0]) > 0.6 * len(chosen)


@pytest.mark.parametrize("make", [TransferRule, TransferBandit])
def test_a_state_goes_on(make):
    first = make()
    steer(first, lambda minibatch, step: 0.5 * step.waiting, range(0, 100, 4))
    second = make()
    second.load_state(first.state())
    assert second.choose(observe(0, 0.5)) == first.choose(observe(101, 0.5)) != STEPS[0]


class YesJudge:
    """Answers yes to everything."""

    def prepare(self, task):
        return UNCALIBRATED

    def ask(self, task, question):
        return Verdict(log_odds=1.0, probability=0.7)


class YesClassifier:
    """Thinks it likely that replacing is better."""

    def probabilities(self, values):
        return np.full(len(values), 0.7)


@pytest.mark.parametrize("name", ["auto", "bandit", "classifier", "llm"])
def test_every_policy_that_decides_moves_rows_thriftily(name):
    parts = PromptParts(prompt=Prompt.load(None, explain=False), examples=[], reference=[])
    make = {
        "auto": AutoPolicy,
        "bandit": BanditPolicy,
        "classifier": lambda: ClassifierPolicy(YesClassifier()),
        "llm": lambda: LlmPolicy(YesJudge(), parts),
    }
    policy = make[name]()
    decisions = [policy.decide(observe(4 * number, 0.2)) for number in range(40)]
    assert decisions[0].wire_dtype == "stored"
    assert any(decision.wire_dtype != "stored" for decision in decisions)
    resumed = make[name]()
    resumed.load_state(json.loads(json.dumps(policy.state())))
    assert resumed.decide(observe(160, 0.2)).wire_dtype == decisions[-1].wire_dtype
    bound = make[name]().decide(observe(0, 0.2, wire_dtypes=("stored",), max_exchange_every=1))
    assert bound.wire_dtype is None and bound.exchange_every is None
