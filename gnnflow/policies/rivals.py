"""What needs no model and is beside every Pass@1: one answer always, a threshold on one number."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnnflow.policies.observation import Observation
from gnnflow.policies.observation_features import FEATURE_NAMES, feature_values

RIVALS = {
    "pass_at_1_always_no": "always no",
    "pass_at_1_always_yes": "always yes",
    "pass_at_1_threshold": "one threshold",
}
"""Figures beside a Pass@1, and their words in tables."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Threshold:
    """Replaces where one number of an observation is on one side of a limit."""

    feature: str
    """One of `FEATURE_NAMES`."""

    limit: float
    """The limit."""

    above: bool = True
    """Whether to replace above the limit, and not up to it."""

    def replaces(self, observation: Observation) -> bool:
        """Whether it would replace."""
        return (feature_values(observation)[self.feature] > self.limit) is self.above

    def choices(self, features: NDArray[np.float64]) -> NDArray[np.bool_]:
        """The same for features of situations, `[num_situations, num_features]`."""
        column = features[:, FEATURE_NAMES.index(self.feature)]
        return np.asarray((column > self.limit) == self.above)

    def __str__(self) -> str:
        """As tables name it."""
        return f"{self.feature} {'>' if self.above else '<='} {self.limit:.3g}"


LEARNT = Threshold(feature="payback_share", limit=0.0534757, above=False)
"""Is right most often over decisions on the graphs that the classifiers that come with gnnflow have
learnt from (`python -m benchmarks.threshold`); a run sets its policy against it."""


def fit_threshold(features: NDArray[np.float64], labels: NDArray[np.bool_]) -> Threshold:
    """Finds the number and the limit that are right most often.

    Args:
        features: float64 `[num_situations, num_features]`, at least one row.
        labels: whether replacing is the better choice, `[num_situations]`.
    """
    best, most_right = LEARNT, -1
    for name, column in zip(FEATURE_NAMES, features.T, strict=True):
        order = np.argsort(column, kind="stable")
        values, better = column[order], labels[order]
        # Right if the first `n` situations are kept and the others replaced, for all `n`.
        right = np.concatenate([[0], np.cumsum(~better)]) + better.sum()
        right -= np.concatenate([[0], np.cumsum(better)])
        is_cut = np.concatenate([[True], values[1:] > values[:-1], [True]])
        middle = np.concatenate([[values[0] - 1], (values[1:] + values[:-1]) / 2, [values[-1]]])
        for above, counts in ((True, right), (False, len(labels) - right)):
            counts = np.where(is_cut, counts, -1)
            place = int(np.argmax(counts))
            if counts[place] > most_right:
                most_right = int(counts[place])
                best = Threshold(feature=name, limit=float(middle[place]), above=above)
    return best


def rival_scores(
    threshold: Threshold, features: NDArray[np.float64], labels: NDArray[np.bool_]
) -> dict[str, float]:
    """The Pass@1 of each of `RIVALS` over some situations, none of which the threshold has seen.

    Args:
        threshold: fitted on other situations.
        features: float64 `[num_situations, num_features]`.
        labels: whether replacing is the better choice, `[num_situations]`.
    """
    yes = float(labels.mean())
    of_threshold = float((threshold.choices(features) == labels).mean())
    return dict(zip(RIVALS, (1 - yes, yes, of_threshold), strict=True))
