"""What a model learns from labels, and how its answers are scored."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from gnnflow.array_types import FloatArray
from gnnflow.errors import DataError
from gnnflow.partition import Manifest

Scored = Mapping[str, float | None]
_NONE = -1


class Task(Protocol):
    """Loss and scores of a kind of label."""

    num_outputs: int
    """Width of the model's output."""

    score_name: str
    """The one of its scores that runs are compared by, larger is better."""

    num_counts: int
    """How many numbers `count` gives."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean loss over `logits` `[num_seeds, num_outputs]`, weighted where seeds are."""

    def seed_weights(self, labels: NDArray[Any]) -> NDArray[np.float64] | None:
        """What each seed counts with in the mean, `[num_seeds]`; None if all count the same."""

    def count(self, logits: Tensor, labels: Tensor) -> FloatArray:
        """`[num_counts]` sums over vertices, to be added up over batches and ranks."""

    def scores(self, counts: FloatArray) -> Scored:
        """The scores of added-up counts by name; None where there was nothing to count."""


class SingleLabelTask:
    """One class per vertex: cross-entropy, and accuracy as the score."""

    score_name = "accuracy"

    def __init__(self, num_classes: int, weights: NDArray[np.float64] | None = None) -> None:
        """Takes the number of classes and what an error on each counts with."""
        self.num_outputs = num_classes
        self.num_counts = 3 * num_classes
        self._weights = weights

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean cross-entropy."""
        return functional.cross_entropy(logits, labels.long(), _like(self._weights, logits))

    def seed_weights(self, labels: NDArray[Any]) -> NDArray[np.float64] | None:
        """The weight of each seed's class."""
        return None if self._weights is None else self._weights[labels]

    def count(self, logits: Tensor, labels: Tensor) -> FloatArray:
        """For each class right, wrong and missed answers."""
        return count_answers(logits.argmax(dim=-1), labels.long(), self.num_outputs)

    def scores(self, counts: FloatArray) -> Scored:
        """Accuracy and the mean of the classes' F1."""
        return class_scores(counts, ("accuracy", "macro-F1"))


class MultiLabelTask:
    """Any number of classes per vertex: binary cross-entropy, and micro-averaged F1."""

    score_name = "micro-F1"

    def __init__(self, num_classes: int, weights: NDArray[np.float64] | None = None) -> None:
        """Takes the number of classes and what a present label counts with, against an absent."""
        self.num_outputs = num_classes
        self.num_counts = 3 * num_classes
        self._weights = weights

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean binary cross-entropy."""
        return functional.binary_cross_entropy_with_logits(
            logits, labels.to(logits.dtype), pos_weight=_like(self._weights, logits)
        )

    def seed_weights(self, labels: NDArray[Any]) -> NDArray[np.float64] | None:
        """None: the mean is over seeds and classes, whatever labels count with."""
        return None

    def count(self, logits: Tensor, labels: Tensor) -> FloatArray:
        """For each class right, wrong and missed answers."""
        return count_labels(logits > 0, labels > 0)

    def scores(self, counts: FloatArray) -> Scored:
        """F1 over all answers and the mean of the classes' F1."""
        return class_scores(counts, ("micro-F1", "macro-F1"))


class RegressionTask:
    """One or more numbers per vertex: mean squared error, and R2 as the score."""

    score_name = "R2"
    num_counts = 5

    def __init__(self, num_outputs: int) -> None:
        """Takes how many numbers a vertex has."""
        self.num_outputs = num_outputs

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean squared error."""
        return functional.mse_loss(logits, labels.to(logits.dtype).reshape(logits.shape))

    def seed_weights(self, labels: NDArray[Any]) -> NDArray[np.float64] | None:
        """None: all seeds count the same."""
        return None

    def count(self, logits: Tensor, labels: Tensor) -> FloatArray:
        """Numbers, their absolute and squared errors, and sums of labels and of their squares."""
        true = labels.double().reshape(logits.shape)
        error = logits.double() - true
        sums = [error.abs().sum(), error.square().sum(), true.sum(), true.square().sum()]
        return np.array([true.numel(), *(float(value) for value in sums)])

    def scores(self, counts: FloatArray) -> Scored:
        """R2, and the mean absolute and the root of the mean squared error."""
        return number_scores(counts)


def task_of(
    manifest: Manifest, kind: str = "auto", weights: NDArray[np.float64] | None = None
) -> Task:
    """Finds out from a partition's labels what there is to learn.

    Args:
        manifest: facts about the partition.
        kind: `classes`, `multilabel` or `regression`, or `auto` to go by the labels.
        weights: what errors on each class count with, `[num_classes]`; a regression has none.

    Raises:
        DataError: if there are no labels or they are of another kind.
    """
    if "y" not in manifest.arrays:
        raise DataError(
            f"'{manifest.name}' has no labels to train on; partition it with --labels FILE"
        )
    labels = manifest.arrays["y"]
    is_matrix = len(labels.row_shape) == 1
    is_integer = np.issubdtype(np.dtype(labels.npy_dtype), np.integer)
    whole = is_integer and manifest.num_classes > 0 and not is_matrix
    if kind == "auto":
        kind = "classes" if whole else "regression"
        if is_matrix and manifest.num_classes:
            kind = "multilabel"
    about = f"labels of '{manifest.name}' are {labels.dtype} of row shape {list(labels.row_shape)}"
    if kind == "classes":
        if not whole:
            raise DataError(f"{about}; task classes needs one whole number per vertex")
        return SingleLabelTask(manifest.num_classes, weights)
    if kind == "multilabel":
        if not is_matrix or not manifest.num_classes:
            raise DataError(f"{about}; task multilabel needs a 0/1 row per vertex")
        return MultiLabelTask(labels.row_shape[0], weights)
    if len(labels.row_shape) > 1:
        raise DataError(f"{about}; task regression needs a number or a row of them per vertex")
    return RegressionTask(labels.row_shape[0] if is_matrix else 1)


def count_answers(answers: Tensor, labels: Tensor, num_classes: int) -> FloatArray:
    """Counts right, wrong and missed answers of each class, `[3 * num_classes]`.

    Args:
        answers: int64 `[num_vertices]` classes.
        labels: int64 `[num_vertices]` classes.
        num_classes: number of classes.
    """
    is_right = answers == labels
    parts = [labels[is_right], answers[~is_right], labels[~is_right]]
    sums = [torch.bincount(part, minlength=num_classes) for part in parts]
    return torch.cat(sums).cpu().numpy().astype(np.float64)


def count_labels(answers: Tensor, labels: Tensor) -> FloatArray:
    """Counts right, wrong and missed answers of each class, `[3 * num_classes]`.

    Args:
        answers: bool `[num_vertices, num_classes]`.
        labels: bool `[num_vertices, num_classes]`.
    """
    sums = [(answers & labels), (answers & ~labels), (~answers & labels)]
    return np.concatenate([part.sum(dim=0).cpu().numpy() for part in sums]).astype(np.float64)


def class_scores(counts: FloatArray, names: Sequence[str]) -> dict[str, float | None]:
    """Scores of classes: `accuracy`, `micro-F1`, `macro-F1`; None if there was nothing to score."""
    # Imported here: it takes a second, and options that are wrong shall be told before.
    from sklearn import metrics

    right, wrong, missed = counts.reshape(3, -1)
    classes = np.arange(len(right))
    nobody = np.full_like(classes, _NONE)
    if not counts.any():
        return dict.fromkeys(names)
    true = np.concatenate([classes, nobody, classes])
    given = np.concatenate([classes, classes, nobody])
    weights = np.concatenate([right, wrong, missed])
    labelled = true != _NONE
    scores: dict[str, float | None] = {}
    for name in names:
        if name == "accuracy":
            scores[name] = float(
                metrics.accuracy_score(
                    true[labelled], given[labelled], sample_weight=weights[labelled]
                )
            )
            continue
        scores[name] = float(
            metrics.f1_score(
                true,
                given,
                labels=classes,
                average=name.removesuffix("-F1"),
                sample_weight=weights,
                zero_division=0.0,
            )
        )
    return scores


def number_scores(counts: FloatArray) -> dict[str, float | None]:
    """`R2`, `MAE` and `RMSE` from numbers, absolute errors, squared errors, labels and squares.

    They are means, and means of parts cannot be put together from what scikit-learn returns.
    """
    num, absolute, squared, total, squares = counts
    if not num:
        return {"R2": None, "MAE": None, "RMSE": None}
    spread = squares - total * total / num
    return {
        "R2": float(1 - squared / spread) if spread > 0 else None,
        "MAE": float(absolute / num),
        "RMSE": float(np.sqrt(squared / num)),
    }


def _like(weights: NDArray[np.float64] | None, logits: Tensor) -> Tensor | None:
    if weights is None:
        return None
    return torch.from_numpy(weights).to(logits.device, logits.dtype)
