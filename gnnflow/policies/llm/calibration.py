"""From the log-odds that a language model gives to a probability that means something."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_RIDGE = 0.05
_STEPS = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """A logistic curve through the answers to reference situations.

    Small models lean to one answer whatever the situation, and some order situations the wrong way
    round; the curve's offset and slope take both into account. What no curve can give is
    information: `auc` says how much the answers tell.
    """

    slope: float
    """Change of the probability's log-odds with the model's."""

    offset: float
    """Log-odds of the probability where the model's are 0."""

    auc: float
    """How well the model's log-odds order the reference situations; 0.5 is chance, 0 reversed."""

    accuracy: float
    """Share of reference situations that fall on the right side of one half."""

    num_reference: int
    """Reference situations."""

    def probability(self, log_odds: float) -> float:
        """How likely replacing is the better choice, given the model's log-odds for it."""
        value = self.slope * log_odds + self.offset
        return 1.0 / (1.0 + math.exp(-max(-60.0, min(value, 60.0))))


UNCALIBRATED = Calibration(slope=1.0, offset=0.0, auc=0.5, accuracy=0.5, num_reference=0)
"""Takes the model by its word."""


def calibrate(log_odds: Sequence[float], labels: Sequence[bool]) -> Calibration:
    """Fits the curve by logistic regression with a slight ridge on the slope.

    Args:
        log_odds: the model's log-odds for replacing, of each reference situation.
        labels: whether replacing is the better choice there.

    Returns:
        The curve; `UNCALIBRATED` if there are no situations of both kinds.

    Source: Platt, "Probabilistic outputs for support vector machines", 1999.
    """
    scores = np.asarray(log_odds, dtype=np.float64)
    targets = np.asarray(labels, dtype=np.float64)
    if len(scores) == 0 or targets.min() == targets.max():
        return UNCALIBRATED
    center = scores.mean()
    scale = scores.std() or 1.0
    inputs = np.stack([(scores - center) / scale, np.ones_like(scores)], axis=1)
    ridge = np.diag([_RIDGE * len(scores), 1e-9])
    weights = np.zeros(2)
    for _ in range(_STEPS):
        expected = 1.0 / (1.0 + np.exp(-(inputs @ weights)))
        gradient = inputs.T @ (targets - expected) - ridge @ weights
        curvature = (inputs * (expected * (1 - expected))[:, None]).T @ inputs + ridge
        weights = weights + np.linalg.solve(curvature, gradient)
    slope = float(weights[0] / scale)
    offset = float(weights[1] - slope * center)
    return Calibration(
        slope=slope,
        offset=offset,
        auc=_auc(scores, targets),
        accuracy=float(np.mean((slope * scores + offset > 0) == (targets > 0))),
        num_reference=len(scores),
    )


def _auc(scores: np.ndarray, targets: np.ndarray) -> float:
    positive, negative = scores[targets > 0], scores[targets == 0]
    above = (positive[:, None] > negative[None, :]).mean()
    equal = (positive[:, None] == negative[None, :]).mean()
    return float(above + equal / 2)
