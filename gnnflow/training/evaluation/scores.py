"""Scores by scikit-learn from sums: counts are added up over ranks exactly and handed over.

scikit-learn takes pairs of a true and a given class. Counts of right, wrong and missed answers per
class are such pairs with weights, the other class of a wrong or missed answer being none of them.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gnnflow.array_types import FloatArray

_NONE = -1


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
