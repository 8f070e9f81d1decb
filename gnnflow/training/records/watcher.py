"""Who follows a run on rank 0."""

from typing import Protocol

from gnnflow.training.records.step_metrics import EpochMetrics, StepMetrics
from gnnflow.training.records.summary import Scores


class Watcher(Protocol):
    """Is told of epochs and steps while they happen."""

    def start_epoch(self, epoch: int) -> None:
        """Is told that an epoch starts."""

    def show_step(self, metrics: StepMetrics) -> None:
        """Is told of a finished step of rank 0."""

    def show_epoch(self, metrics: EpochMetrics, scores: Scores) -> None:
        """Is told of a finished epoch over all ranks, and of the scores if it was evaluated."""
