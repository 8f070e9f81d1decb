"""Training on all ranks as one, exact evaluation, and what a run shows."""

from gnnflow.training.checkpoints.checkpoint_files import Position
from gnnflow.training.checkpoints.folder import Checkpoints
from gnnflow.training.checkpoints.saving import (
    Resumed,
    TrainingState,
    load_checkpoint,
    load_model_from_checkpoint,
    save_checkpoint,
)
from gnnflow.training.data_parallel.gradient_sum import sum_gradients
from gnnflow.training.data_parallel.model_buffers import sync_buffers
from gnnflow.training.data_parallel.sync_batch_norm import SyncBatchNorm
from gnnflow.training.data_parallel.wrapped_model import unwrap, wrap
from gnnflow.training.evaluation.inference import find_checkpoint, infer
from gnnflow.training.evaluation.layerwise import LayerwiseInference, LayerwiseModel
from gnnflow.training.evaluation.link_evaluation import evaluate_links
from gnnflow.training.evaluation.vertex_evaluation import evaluate
from gnnflow.training.loss_weighting import LossShares

__all__ = [
    "Checkpoints",
    "LayerwiseInference",
    "LayerwiseModel",
    "LossShares",
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
