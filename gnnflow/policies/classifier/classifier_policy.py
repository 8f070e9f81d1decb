"""The policy `classifier`, and how it goes on learning during a run."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.config import PolicyConfig
from gnnflow.policies.classifier.classifier_folder import load_classifier
from gnnflow.policies.classifier.classifiers import Classifier
from gnnflow.policies.decision import FREE, Decision, Outcome, RankInfo
from gnnflow.policies.observation import Observation
from gnnflow.policies.observation_features import (
    FEATURE_NAMES,
    features,
    learner_state,
    load_learner_state,
)
from gnnflow.policies.transfer_choice import TransferRule, with_transfer

_RATE = 0.1
_PULL = 0.01
_MOST_CERTAIN = 6.0


class OnlineCorrection:
    """What a run adds to a classifier: a small logistic regression on top of its log-odds.

    It starts as nothing, so that a run without outcomes is a run with the classifier as it was
    trained, and works with every kind of classifier. Each outcome is one step of AdaGrad; a pull
    towards nothing keeps it small.
    """

    def __init__(self) -> None:
        """Starts as nothing."""
        self._weights = np.zeros(len(FEATURE_NAMES) + 1)
        self._squares = np.full(len(FEATURE_NAMES) + 1, 1e-3)

    def log_odds(self, values: NDArray[np.float64]) -> float:
        """What to add to the log-odds in a situation, given its features."""
        return float(self._weights @ _inputs(values))

    def learn(self, values: NDArray[np.float64], probability: float, label: bool) -> None:
        """Takes a step towards what turned out.

        Args:
            values: features, float64 `[num_features]`.
            probability: what was said, correction included.
            label: whether replacing would have been better.
        """
        gradient = (probability - label) * _inputs(values) + _PULL * self._weights
        self._squares += gradient**2
        self._weights -= _RATE * gradient / np.sqrt(self._squares)

    def state(self) -> dict[str, Any]:
        """What was learnt, as JSON values."""
        return learner_state(self._learnt())

    def load_state(self, state: dict[str, Any]) -> None:
        """Goes on with what a checkpoint knows.

        Raises:
            DataError: if it was learnt on other features.
        """
        learnt = load_learner_state(state, self._learnt(), "classifier")
        self._weights, self._squares = learnt["weights"], learnt["squares"]

    def _learnt(self) -> dict[str, NDArray[np.float64]]:
        return {"weights": self._weights, "squares": self._squares}


class ClassifierPolicy:
    """Replaces where a trained classifier thinks it more likely than not to be better."""

    name = "classifier"

    def __init__(self, classifier: Classifier, *, online: bool = False) -> None:
        """Wraps a classifier.

        Args:
            classifier: a trained one.
            online: whether to learn from outcomes.
        """
        self._classifier = classifier
        self._correction = OnlineCorrection() if online else None
        self._transfer = TransferRule()

    def decide(self, observation: Observation) -> Decision:
        """Asks the classifier; moves rows thriftily by the rule of `auto` if need be."""
        return with_transfer(self._replacement(observation), self._transfer.choose(observation))

    def _replacement(self, observation: Observation) -> Decision:
        if observation.facts.free_admission:
            return Decision(replace=True, explanation=FREE)
        probability = self._probability(features(observation))
        return Decision(
            replace=probability > 0.5,
            probability=probability,
            explanation=f"probability {probability:.2f} that replacing is better",
        )

    def feedback(self, observation: Observation, decision: Decision, outcome: Outcome) -> None:
        """Learns which choice was better, where that is known and learning is on."""
        if self._correction is not None and outcome.best_replace is not None:
            values = features(observation)
            self._correction.learn(values, self._probability(values), outcome.best_replace)

    def state(self) -> dict[str, Any]:
        """What was learnt online, and how rows travel."""
        learnt = {} if self._correction is None else self._correction.state()
        return {"thrift": self._transfer.state(), **learnt}

    def load_state(self, state: dict[str, Any]) -> None:
        """Goes on with what a checkpoint knows."""
        if "thrift" in state:
            self._transfer.load_state(state["thrift"])
        if self._correction is not None and "weights" in state:
            self._correction.load_state(state)

    def _probability(self, values: NDArray[np.float64]) -> float:
        probability = float(self._classifier.probabilities(values[None])[0])
        if self._correction is None:
            return probability
        clipped = min(max(probability, 1e-9), 1 - 1e-9)
        log_odds = math.log(clipped / (1 - clipped))
        # A classifier that is all too certain must still be open to correction.
        log_odds = max(-_MOST_CERTAIN, min(log_odds, _MOST_CERTAIN))
        return 1 / (1 + math.exp(-(log_odds + self._correction.log_odds(values))))


def _inputs(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.append(np.clip(values, -3.0, 3.0), 1.0)


def make_classifier_policy(config: PolicyConfig, rank_info: RankInfo) -> ClassifierPolicy:
    """Builds the policy `classifier` with the classifier that a config names."""
    _, classifier = load_classifier(config.classifier)
    return ClassifierPolicy(classifier, online=config.online)
