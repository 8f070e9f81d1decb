"""A contextual bandit: learns during the run what replacing is worth in which situation."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.config import PolicyConfig
from gnnflow.policies.decision import FREE, Decision, Outcome, RankInfo
from gnnflow.policies.observation import Observation
from gnnflow.policies.observation_features import (
    FEATURE_NAMES,
    features,
    learner_state,
    load_learner_state,
)
from gnnflow.policies.transfer_choice import TransferBandit, with_transfer

_GAIN = FEATURE_NAMES.index("expected_gain")
_PRIOR_STRENGTH = 4.0
_WIDTH = 0.25
_FADING = 0.995
_EXPLORE_EVERY = 32
_REWARD_LIMIT = 3.0


class BanditPolicy:
    """LinUCB on the difference between replacing and keeping still.

    The reward of a replacement is the share of the missed rows that it saved, of keeping still 0. A
    ridge regression predicts it from the features; it starts from the belief that half of the
    predicted gain comes true. A replacement whose expected reward is negative but whose upper
    confidence bound is not is tried at most every 32 minibatches: exploring costs traffic.
    Observations fade, so that a run that changes is learnt anew.

    Source: Li, Chu, Langford, Schapire, "A contextual-bandit approach to personalized news article
    recommendation", WWW 2010 (disjoint LinUCB, one arm against a known baseline).
    """

    name = "bandit"

    def __init__(self) -> None:
        """Starts from the prior."""
        size = len(FEATURE_NAMES) + 1
        self._prior = np.zeros(size)
        self._prior[_GAIN] = 0.5
        self._precision = np.eye(size) * _PRIOR_STRENGTH
        self._moment = self._precision @ self._prior
        self._updates = 0
        self._transfer = TransferBandit()

    def decide(self, observation: Observation) -> Decision:
        """Replaces if that is expected to pay, or might and is worth a try."""
        return with_transfer(self._replacement(observation), self._transfer.choose(observation))

    def _replacement(self, observation: Observation) -> Decision:
        if observation.facts.free_admission:
            return Decision(replace=True, explanation=FREE)
        context = _context(observation)
        weights = np.linalg.solve(self._precision, self._moment)
        mean = float(weights @ context)
        spread = math.sqrt(max(float(context @ np.linalg.solve(self._precision, context)), 0.0))
        can_replace = observation.state.incoming_rows > 0
        pays = mean > 0
        rested = observation.minibatches_since_replacement >= _EXPLORE_EVERY
        explores = not pays and rested and mean + _WIDTH * spread > 0
        return Decision(
            replace=can_replace and (pays or explores),
            expected_volume_change=max(-mean, -1.0) if can_replace and pays else 0.0,
            probability=_normal_share(mean / max(spread, 1e-9)),
            explanation=f"expected reward {mean:.3f} with a spread of {spread:.3f}"
            + (", worth a try" if explores else ""),
        )

    def feedback(self, observation: Observation, decision: Decision, outcome: Outcome) -> None:
        """Learns the reward; known for either choice where the cache watches what was planned."""
        if outcome.saved_rows is not None:
            missed = observation.window.missed_rows / max(observation.window.minibatches, 1)
            reward = outcome.saved_rows / max(missed * outcome.minibatches, 1.0)
        elif decision.replace:
            reward = -outcome.volume_change
        else:
            return
        self._learn(_context(observation), max(-_REWARD_LIMIT, min(reward, _REWARD_LIMIT)))

    def state(self) -> dict[str, Any]:
        """What was learnt, as JSON values."""
        return {
            **learner_state(self._learnt()),
            "updates": self._updates,
            "thrift": self._transfer.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Goes on with what a checkpoint knows.

        Raises:
            DataError: if it was learnt on other features.
        """
        learnt = load_learner_state(state, self._learnt(), "bandit")
        self._precision, self._moment = learnt["precision"], learnt["moment"]
        self._updates = int(state["updates"])
        self._transfer.load_state(state["thrift"])

    def _learnt(self) -> dict[str, NDArray[np.float64]]:
        return {"precision": self._precision, "moment": self._moment}

    def _learn(self, context: NDArray[np.float64], reward: float) -> None:
        # Old observations fade towards the prior, never below its strength.
        prior = np.eye(len(context)) * _PRIOR_STRENGTH
        self._precision = prior + _FADING * (self._precision - prior) + np.outer(context, context)
        start = prior @ self._prior
        self._moment = start + _FADING * (self._moment - start) + reward * context
        self._updates += 1


def _context(observation: Observation) -> NDArray[np.float64]:
    return np.append(features(observation), 1.0)


def _normal_share(value: float) -> float:
    return 0.5 * (1.0 + math.erf(value / math.sqrt(2.0)))


def make_bandit(config: PolicyConfig, rank_info: RankInfo) -> BanditPolicy:
    """Builds the policy `bandit`."""
    return BanditPolicy()
