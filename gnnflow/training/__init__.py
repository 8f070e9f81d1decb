"""Training on all ranks as one, exact evaluation, and what a run shows."""

from gnnflow.training.checkpoints.files import Position
from gnnflow.training.checkpoints.folder import Checkpoints
from gnnflow.training.checkpoints.saving import (
    Resumed,
    TrainingState,
    load_checkpoint,
    load_model_from_checkpoint,
    save_checkpoint,
)
from gnnflow.training.evaluation import evaluate
from gnnflow.training.gradient_sum import sum_gradients
from gnnflow.training.gradients import unwrap, wrap
from gnnflow.training.inference import find_checkpoint, infer
from gnnflow.training.layerwise import LayerwiseInference, LayerwiseModel
from gnnflow.training.link_evaluation import evaluate_links
from gnnflow.training.model_buffers import sync_buffers
from gnnflow.training.sync_batch_norm import SyncBatchNorm

__all__ = [
    "Checkpoints",
    "LayerwiseInference",
    "LayerwiseModel",
    "Position",
    "Resumed",
    "SyncBatchNorm",
    "TrainingState",
    "evaluate",
    "evaluate_links",
    "find_checkpoint",
    "infer",
    "load_checkpoint",
    "load_model_from_checkpoint",
    "save_checkpoint",
    "sum_gradients",
    "sync_buffers",
    "unwrap",
    "wrap",
]
