"""Finds the threshold on one number that every Pass@1 of a run is set against.

    python -m benchmarks.threshold FOLDER

FOLDER holds the traces that `python -m benchmarks.policy_traces` writes. The policies that answer
at once (no language model, no random forest) decide over those of the training graphs, at four
budgets, from empty caches and from caches filled by degree; the threshold is the one that is right
most often over all their decisions.
`gnnflow.policies.rivals.LEARNT` is what this prints.
"""

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks._harness import parser_of
from benchmarks._policy_graphs import TRAINING
from benchmarks.fixed_schedules import capacity_of
from benchmarks.policies import BUDGETS, POLICY_STALE_AFTER, MakePolicy, without_models
from gnnflow.policies import Decision, Observation, Outcome, ReplacementPolicy
from gnnflow.policies.decision import LearningPolicy
from gnnflow.policies.observation_features import features
from gnnflow.policies.rivals import RIVALS, fit_threshold, rival_scores
from gnnflow.replay import ReplaySettings, Trace, read_traces
from gnnflow.replay.policy_replay import replay_with_policy
from gnnflow.terminal import PlainConsole, progress

Judged = tuple[Observation, bool]
"""What a policy was asked, and which choice was the better one."""


class _Noting:
    """Passes everything on and notes what came of it."""

    def __init__(self, policy: ReplacementPolicy) -> None:
        self.name = policy.name
        self._policy = policy
        self.judged: list[Judged] = []

    def decide(self, observation: Observation) -> Decision:
        return self._policy.decide(observation)

    def feedback(self, observation: Observation, decision: Decision, outcome: Outcome) -> None:
        if outcome.best_replace is not None:
            self.judged.append((observation, outcome.best_replace))
        if isinstance(self._policy, LearningPolicy):
            self._policy.feedback(observation, decision, outcome)


def judged_decisions(trace: Trace, makers: Mapping[str, MakePolicy]) -> Iterator[Judged]:
    """What policies were asked over a trace, where the better choice is known."""
    for budget, fill, make in product(BUDGETS, ("empty", "degree"), makers.values()):
        noting = _Noting(make())
        settings = ReplaySettings(
            scorer="decay",
            capacity=capacity_of(trace, budget),
            period=POLICY_STALE_AFTER,
            fill=fill,
        )
        replay_with_policy(trace, settings, noting)
        yield from noting.judged


def main() -> None:
    """Entry point."""
    parser = parser_of("benchmarks.threshold", __doc__)
    parser.add_argument("folder", type=Path, help="what benchmarks.policy_traces has written")
    folder = parser.parse_args().folder
    makers = {name: make for name, make in without_models(print).items() if name != "rf"}
    judged: list[Judged] = []
    with progress(PlainConsole(stderr=True)) as bars:
        for workload in bars.track(TRAINING, description="replaying"):
            judged += judged_decisions(read_traces(folder / workload.name)[0], makers)
    table = np.stack([features(observation) for observation, _ in judged])
    labels = np.array([better for _, better in judged])
    threshold = fit_threshold(table, labels)
    print(f"{threshold!r} over {len(labels)} decisions")
    for rival, score in rival_scores(threshold, table, labels).items():
        print(f"{RIVALS[rival]}: {score:.3f}")


if __name__ == "__main__":
    main()
