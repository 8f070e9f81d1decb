import logging
import threading

import pytest
from made_up import make_observation

from gnnflow.policies import Decision, Outcome, PolicyController

OUTCOME = Outcome(minibatches=8, hit_rate_change=0.1, volume_change=-0.1)


class Fake:
    """A policy that does what a function says, and remembers what it was told."""

    name = "fake"

    def __init__(self, answer):
        self.answer = answer
        self.told = []
        self.closed = False

    def decide(self, observation):
        return self.answer(observation)

    def feedback(self, observation, decision, outcome):
        self.told.append(outcome)

    def state(self):
        return {"told": len(self.told)}

    def load_state(self, state):
        self.told = [None] * state["told"]

    def close(self):
        self.closed = True


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def raise_error(error):
    raise error


def yes(observation):
    return Decision(replace=True)


def inline(policy, **options):
    return PolicyController(lambda: policy, mode="sync", timeout_s=None, **options)


def wait_for(controller, minibatch=79):
    controller._question.done.wait(10)
    return controller.take(minibatch)


def test_an_inline_policy_answers_at_once():
    policy = Fake(yes)
    controller = inline(policy)
    assert controller.ask(make_observation(minibatch=5))
    answer = controller.take(5)
    assert answer.status == "valid"
    assert answer.decision.replace and answer.decision.minibatch == 5
    assert answer.decision.latency_s == answer.latency_s >= 0
    assert controller.take(5) is None
    controller.close()
    assert policy.closed


@pytest.mark.parametrize("mode", ["async", "sync"])
def test_a_worker_answers_learns_and_keeps_state(mode):
    policy = Fake(yes)
    controller = PolicyController(lambda: policy, mode=mode, timeout_s=10)
    controller._built.wait(10)
    controller.load_policy_state({"told": 2})
    assert controller.ask(make_observation())
    answer = wait_for(controller)
    assert answer.status == "valid"
    controller.feedback(answer.observation, answer.decision, OUTCOME)
    assert controller.policy_state() == {"told": 3}
    controller.close()
    assert policy.closed


def test_training_goes_on_while_a_policy_thinks():
    go_on = threading.Event()

    def think(observation):
        go_on.wait(10)
        return Decision(replace=True)

    controller = PolicyController(lambda: Fake(think), max_staleness=3, timeout_s=100)
    controller._built.wait(10)
    assert controller.ask(make_observation(minibatch=10))
    assert controller.take(11) is None
    assert not controller.ask(make_observation(minibatch=11))
    go_on.set()
    assert wait_for(controller, 13).status == "valid"
    controller.close()


def test_an_answer_that_is_too_old_is_not_followed():
    controller = inline(Fake(yes), max_staleness=3)
    controller.ask(make_observation(minibatch=10))
    answer = controller.take(14)
    assert answer.status == "stale"
    assert answer.error == "4 minibatches old, at most 3"
    controller.ask(make_observation(minibatch=10))
    assert controller.take(13).status == "valid"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda _: raise_error(RuntimeError("the model\nis gone")), "RuntimeError: the model is"),
        (lambda _: raise_error(SystemExit(3)), "SystemExit: 3"),
        (lambda _: raise_error(MemoryError()), "MemoryError"),
        (lambda _: None, "InvalidDecisionError: a policy must return a Decision, got a NoneType"),
        (lambda _: "yes, replace", "got a str"),
        (lambda _: Decision(replace=True, fraction=7.0), "fraction of a decision must be"),
        (lambda _: Decision(replace="true"), "replace of a decision must be true or false"),
    ],
)
@pytest.mark.parametrize("mode", ["inline", "sync", "async"])
def test_a_fault_is_an_answer_and_never_an_exception(answer, error, mode, caplog):
    policy = Fake(answer)
    if mode == "inline":
        controller = inline(policy)
    else:
        controller = PolicyController(lambda: policy, mode=mode, timeout_s=10)
    controller._built.wait(10)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert controller.ask(make_observation())
            given = wait_for(controller)
            assert (given.status, given.decision) == ("failed", None)
            assert error in given.error
    assert len(caplog.messages) == 1  # the counters know how often
    assert "training goes on as before" in caplog.messages[0]
    controller.close()


def test_a_policy_that_cannot_be_built_fails_every_question(caplog):
    controller = PolicyController(lambda: raise_error(OSError("no such model")), mode="async")
    controller._built.wait(10)
    for _ in range(2):
        assert controller.ask(make_observation())
        answer = wait_for(controller)
        assert (answer.status, answer.error) == ("failed", "OSError: no such model")
    controller.feedback(make_observation(), Decision(replace=False), OUTCOME)
    assert controller.policy_state() is None
    controller.close()
    assert len(caplog.messages) == 1


def test_a_late_answer_is_given_up_once_and_thrown_away(caplog):
    clock, go_on = Clock(), threading.Event()

    def think(observation):
        go_on.wait(10)
        return Decision(replace=True)

    controller = PolicyController(lambda: Fake(think), timeout_s=5.0, clock=clock)
    controller._built.wait(10)
    controller.ask(make_observation())
    assert controller.take(80) is None
    clock.now = 5.0
    answer = controller.take(81)
    assert (answer.status, answer.error) == ("timeout", "no answer within 5 s")
    assert controller.take(82) is None
    assert not controller.ask(make_observation())  # it still thinks
    question = controller._question
    go_on.set()
    question.done.wait(10)
    assert controller.take(83) is None
    assert controller.ask(make_observation())
    controller.close()


def test_a_synchronous_question_waits_no_longer_than_the_timeout():
    go_on = threading.Event()

    def think(observation):
        go_on.wait(10)
        return Decision(replace=True)

    controller = PolicyController(lambda: Fake(think), mode="sync", timeout_s=0.01)
    assert controller.ask(make_observation())
    assert controller.take(79).status == "timeout"
    go_on.set()
    controller.close()


def test_closing_frees_a_policy_that_hangs(monkeypatch):
    monkeypatch.setattr("gnnflow.policies.controller._JOIN_LIMIT_S", 0.05)
    hanging = threading.Event()

    class Hanging(Fake):
        def close(self):
            hanging.set()

    controller = PolicyController(lambda: Hanging(lambda _: hanging.wait(10)), timeout_s=1.0)
    controller._built.wait(10)
    controller.ask(make_observation())
    controller.close()
    assert hanging.is_set()
    controller._worker.join(10)
    assert not controller._worker.is_alive()


def test_trouble_with_feedback_and_state_is_only_logged(caplog):
    class Sour(Fake):
        def feedback(self, observation, decision, outcome):
            raise ValueError("sour")

        def state(self):
            raise ValueError("no state")

        def load_state(self, state):
            raise KeyError("told")

        def close(self):
            raise ValueError("stuck")

    controller = inline(Sour(yes))
    controller.load_policy_state({"other": 1})
    controller.feedback(make_observation(), Decision(replace=True), OUTCOME)
    assert controller.policy_state() == {"other": 1}
    controller.close()
    assert [message.split(";")[0] for message in caplog.messages] == [
        "policy: load_state: KeyError: 'told'",
        "policy: feedback: ValueError: sour",
        "policy: state: ValueError: no state",
        "policy: close: ValueError: stuck",
    ]


def test_what_loading_misses_is_told_once(caplog):
    clock, go_on = Clock(), threading.Event()

    def load():
        go_on.wait(10)
        return Fake(yes)

    controller = PolicyController(load, clock=clock)
    clock.now = 2.5
    for _ in range(3):
        assert not controller.is_ready
        controller.note_missed()
    (message,) = caplog.messages
    assert "it is still loading after 2.5 s and misses a decision point" in message
    assert "--policy-mode sync waits for it; training goes on as before" in message
    clock.now = 4.0
    go_on.set()
    controller._built.wait(10)
    assert caplog.messages[1:] == [
        "policy: ready after 4.0 s of loading, 3 decision points were missed"
    ]
    assert controller.num_missed_loading == 3
    controller.close()


def test_what_a_busy_policy_misses_is_told_once(caplog):
    clock, go_on = Clock(), threading.Event()
    controller = PolicyController(lambda: Fake(lambda _: go_on.wait(10)), clock=clock)
    controller._built.wait(10)
    controller.ask(make_observation(minibatch=15))
    clock.now = 0.75
    for _ in range(2):
        assert not controller.is_ready
        controller.note_missed()
    (message,) = caplog.messages
    assert "0.8 s after the question of minibatch 15 it is still busy" in message
    assert "a larger --decide-every asks less often" in message
    assert controller.num_missed_loading == 0
    go_on.set()
    controller.close()


def test_trouble_that_is_new_every_time_is_told_some_times(caplog):
    numbers = iter(range(100))
    controller = inline(Fake(lambda _: raise_error(RuntimeError(f"error {next(numbers)}"))))
    for _ in range(50):
        controller.ask(make_observation())
        controller.take(79)
    assert len(caplog.messages) == 12
