"""What a model learns from labels, and how its answers are counted."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from gnnflow.errors import DataError
from gnnflow.partition import Manifest


class Task(Protocol):
    """Loss and score of a kind of label."""

    num_outputs: int
    """Width of the model's output."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean loss over `logits` `[num_seeds, num_outputs]`."""

    def count(self, logits: Tensor, labels: Tensor) -> NDArray[np.int64]:
        """`[2]`: numerator and denominator of the score, to be added up over batches and ranks."""


class SingleLabelTask:
    """One class per vertex: cross-entropy, and accuracy as the score."""

    def __init__(self, num_classes: int) -> None:
        """Takes the number of classes."""
        self.num_outputs = num_classes

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean cross-entropy."""
        return functional.cross_entropy(logits, labels.long())

    def count(self, logits: Tensor, labels: Tensor) -> NDArray[np.int64]:
        """Right answers and answers."""
        right = int((logits.argmax(dim=-1) == labels).sum()) if len(labels) else 0
        return np.array([right, len(labels)], dtype=np.int64)


class MultiLabelTask:
    """Any number of classes per vertex: binary cross-entropy, and micro-averaged F1."""

    def __init__(self, num_classes: int) -> None:
        """Takes the number of classes."""
        self.num_outputs = num_classes

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean binary cross-entropy."""
        return functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))

    def count(self, logits: Tensor, labels: Tensor) -> NDArray[np.int64]:
        """Twice the true positives, and that plus false positives and false negatives."""
        answered, true = logits > 0, labels > 0
        both = int((answered & true).sum())
        return np.array([2 * both, int(answered.sum()) + int(true.sum())], dtype=np.int64)


def task_of(manifest: Manifest) -> Task:
    """Finds out from a partition's labels what there is to learn.

    Raises:
        DataError: if there are no labels or they are not classes.
    """
    if "y" not in manifest.arrays:
        raise DataError(
            f"'{manifest.name}' has no labels to train on; partition it with --labels FILE"
        )
    labels = manifest.arrays["y"]
    if len(labels.row_shape) == 1:
        return MultiLabelTask(labels.row_shape[0])
    if not np.issubdtype(np.dtype(labels.npy_dtype), np.integer) or manifest.num_classes < 1:
        raise DataError(
            f"labels of '{manifest.name}' are {labels.dtype} with {manifest.num_classes} classes; "
            "training needs integer classes or a 0/1 matrix [num_vertices, num_classes]"
        )
    return SingleLabelTask(manifest.num_classes)


def score(counts: NDArray[np.int64]) -> float | None:
    """The score of added-up counts, None if there was nothing to count."""
    return float(counts[0] / counts[1]) if counts[1] else None
