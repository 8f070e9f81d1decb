"""What the log of decisions writes, as the page of a run reads it."""

import dataclasses

from made_up import make_observation

from gnnflow.policies.controller import Answer
from gnnflow.policies.decision import Decision, Outcome
from gnnflow.policies.decision_log import DecisionLog, decision_log_name
from gnnflow.report.decisions import read_decisions


def test_decision_logs_are_read_as_they_are_written(tmp_path):
    decision = Decision(replace=True, fraction=0.5, explanation="why not")
    outcome = Outcome(minibatches=3, hit_rate_change=-0.01, volume_change=0.5)
    with DecisionLog(tmp_path / decision_log_name(3)) as log:
        observation = make_observation()
        later = dataclasses.replace(observation, minibatch=observation.minibatch + 8)
        for asked, status, error in (
            (observation, "valid", None),
            (later, "timeout", "no answer within 3 s"),
        ):
            is_valid = status == "valid"
            log.write(
                Answer(
                    observation=asked,
                    status=status,
                    decision=decision if is_valid else None,
                    error=error,
                    latency_s=0.1,
                ),
                outcome if is_valid else None,
            )
    valid, timeout = read_decisions(tmp_path)
    assert (valid.rank, valid.minibatch) == (3, observation.minibatch)
    assert (valid.verdict, valid.explanation) == ("replace 50%", "why not")
    assert valid.effect == "hit rate −1 points, rows moved +50 %"
    assert (timeout.kind, timeout.explanation) == ("missed", "no answer within 3 s")
