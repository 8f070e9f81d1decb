import math

import pytest

from gnnflow.policies import Decision, InvalidDecisionError, Outcome, ReplacementPolicy
from gnnflow.policies.decision import (
    MAX_EXPLANATION,
    ClosablePolicy,
    LearningPolicy,
    StatefulPolicy,
    validate_decision,
)
from gnnflow.policies.static import StaticPolicy


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"replace": "yes"}, "replace of a decision must be true or false, got 'yes'"),
        ({"replace": 1}, "replace of a decision must be true or false, got 1"),
        ({"replace": None}, "replace of a decision"),
        ({"fraction": 0.0}, "fraction of a decision must be more than 0"),
        ({"fraction": 1.5}, r"fraction of a decision must be a finite number in \[0, 1\]"),
        ({"fraction": True}, "fraction of a decision"),
        ({"fraction": math.nan}, "fraction of a decision"),
        ({"expected_hit_rate_change": 2.0}, "expected_hit_rate_change"),
        ({"expected_volume_change": math.inf}, "expected_volume_change"),
        ({"expected_volume_change": -1.5}, "expected_volume_change"),
        ({"probability": -0.1}, "probability"),
        ({"lookahead": 0}, "lookahead of a decision must be a whole number of at least 1"),
        ({"exchange_every": 2.0}, "exchange_every"),
        ({"wire_dtype": "float8"}, "one of stored, bfloat16, int8"),
        ({"explanation": b"why"}, "explanation of a decision must be text"),
    ],
)
def test_each_field_of_a_decision_is_checked(fields, message):
    with pytest.raises(InvalidDecisionError, match=message):
        validate_decision(Decision(**({"replace": True} | fields)))


@pytest.mark.parametrize("answer", [None, True, "replace", {"replace": True}, object()])
def test_what_is_no_decision_is_refused(answer):
    with pytest.raises(InvalidDecisionError, match="must return a Decision, got a"):
        validate_decision(answer)


def test_a_long_explanation_is_cut():
    decision = validate_decision(Decision(replace=True, explanation="x" * 10_000))
    assert len(decision.explanation) == MAX_EXPLANATION


def test_the_better_choice_is_known_only_with_the_saving():
    outcome = Outcome(minibatches=8, hit_rate_change=0.0, volume_change=0.0)
    assert outcome.best_replace is None
    assert (
        Outcome(minibatches=8, hit_rate_change=0.0, volume_change=0.0, saved_rows=-1.0).best_replace
        is False
    )


def test_policies_are_known_by_their_methods():
    policy = StaticPolicy(3)
    assert isinstance(policy, ReplacementPolicy)
    assert not isinstance(policy, LearningPolicy | StatefulPolicy | ClosablePolicy)
