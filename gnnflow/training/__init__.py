"""Training on all ranks as one, exact evaluation, and what a run shows."""

from gnnflow.training.evaluation import evaluate
from gnnflow.training.gradients import sum_gradients, unwrap, wrap
from gnnflow.training.layerwise import LayerwiseInference, LayerwiseModel
from gnnflow.training.link_evaluation import evaluate_links

__all__ = [
    "LayerwiseInference",
    "LayerwiseModel",
    "evaluate",
    "evaluate_links",
    "sum_gradients",
    "unwrap",
    "wrap",
]
