"""Training on all ranks as one, exact evaluation, and what a run shows."""

from gnnflow.training.gradients import sum_gradients, unwrap, wrap

__all__ = ["sum_gradients", "unwrap", "wrap"]
