"""Trains a classifier on replayed situations and says how well it does on graphs it never saw."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnnflow.errors import DataError
from gnnflow.policies.classifier.classifiers import Classifier, make_classifier
from gnnflow.policies.labelled_situations import Situation, stake
from gnnflow.policies.observation_features import features


@dataclass(frozen=True, kw_only=True, slots=True)
class SituationTable:
    """Situations as arrays."""

    features: NDArray[np.float64]
    """float64 `[num_situations, num_features]`."""

    labels: NDArray[np.bool_]
    """Whether replacing is the better choice, `[num_situations]`."""

    weights: NDArray[np.float64]
    """How much is at stake, float64 `[num_situations]`, in [0.1, 1]."""

    groups: tuple[str, ...]
    """Graph and configuration of each situation."""

    def select(self, chosen: NDArray[np.bool_]) -> "SituationTable":
        """The situations marked in a mask, bool `[num_situations]`."""
        return SituationTable(
            features=self.features[chosen],
            labels=self.labels[chosen],
            weights=self.weights[chosen],
            groups=tuple(np.array(self.groups)[chosen].tolist()),
        )


def tabulate(situations: Sequence[Situation]) -> SituationTable:
    """Turns situations into arrays.

    Raises:
        DataError: if there are none.
    """
    if not situations:
        raise DataError("there are no situations to learn from")
    return SituationTable(
        features=np.stack([features(item.observation) for item in situations]),
        labels=np.array([item.replace for item in situations]),
        weights=np.array([stake(item) for item in situations]),
        groups=tuple(item.group for item in situations),
    )


def fit_classifier(kind: str, table: SituationTable, seed: int = 0) -> Classifier:
    """Trains a classifier.

    Raises:
        DataError: if all situations have the same label.
    """
    if table.labels.all() or not table.labels.any():
        better = "replacing" if table.labels.all() else "keeping"
        raise DataError(
            f"in all {len(table.labels)} situations {better} is better: there is nothing to learn; "
            "collect from further graphs, budgets or scorers"
        )
    classifier = make_classifier(kind)
    weights = table.weights / table.weights.mean()
    classifier.fit(table.features, table.labels, weights, seed)
    return classifier


def split_groups(
    groups: Sequence[str], test_share: float, seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Splits situations into training and test by whole groups.

    Returns:
        Which situations are for training and which for testing, bool `[num_situations]` each.

    Raises:
        DataError: if there are fewer than two groups.
    """
    names = sorted(set(groups))
    if len(names) < 2:
        raise DataError(
            f"all situations are of the group '{names[0] if names else ''}'; testing on unseen "
            "ones needs two graphs or configurations at least"
        )
    shuffled = np.random.default_rng(seed).permutation(len(names))
    num_test = min(max(round(test_share * len(names)), 1), len(names) - 1)
    chosen = {names[position] for position in shuffled[:num_test]}
    is_test = np.array([group in chosen for group in groups])
    return ~is_test, is_test


def measure(
    probabilities: NDArray[np.float64], labels: NDArray[np.bool_], weights: NDArray[np.float64]
) -> dict[str, float]:
    """How good probabilities are.

    Args:
        probabilities: of replacing being better, float64 `[num_situations]`.
        labels: whether it is, `[num_situations]`.
        weights: what is at stake, float64 `[num_situations]`.

    Returns:
        `accuracy`, `precision`, `recall`, `auc`, the expected calibration error in ten bins
        (`calibration_error`), the accuracy of always giving the more frequent answer
        (`majority_accuracy`), and the accuracy by what is at stake (`weighted_accuracy`).
    """
    chosen = probabilities > 0.5
    right = chosen == labels
    positives = max(int(labels.sum()), 1)
    return {
        "accuracy": float(right.mean()),
        "weighted_accuracy": float(np.average(right, weights=weights)),
        "majority_accuracy": float(max(labels.mean(), 1 - labels.mean())),
        "precision": float((chosen & labels).sum() / max(int(chosen.sum()), 1)),
        "recall": float((chosen & labels).sum() / positives),
        "auc": _auc(probabilities, labels),
        "calibration_error": _calibration_error(probabilities, labels),
    }


def _auc(scores: NDArray[np.float64], labels: NDArray[np.bool_]) -> float:
    positive, negative = np.sort(scores[labels]), np.sort(scores[~labels])
    if not len(positive) or not len(negative):
        return 0.5
    below = np.searchsorted(negative, positive, side="left").mean()
    not_above = np.searchsorted(negative, positive, side="right").mean()
    return float((below + not_above) / 2 / len(negative))


def _calibration_error(probabilities: NDArray[np.float64], labels: NDArray[np.bool_]) -> float:
    bins = np.minimum((probabilities * 10).astype(int), 9)
    sizes = np.bincount(bins, minlength=10)
    said = np.bincount(bins, probabilities, minlength=10)
    found = np.bincount(bins, labels.astype(float), minlength=10)
    return float(np.abs(said - found)[sizes > 0].sum() / len(labels))
