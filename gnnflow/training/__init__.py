"""Training on all ranks as one, exact evaluation, and what a run shows."""

from gnnflow.training.evaluation import evaluate
from gnnflow.training.gradients import sum_gradients, unwrap, wrap
from gnnflow.training.layerwise import LayerwiseInference, LayerwiseModel

__all__ = ["LayerwiseInference", "LayerwiseModel", "evaluate", "sum_gradients", "unwrap", "wrap"]
