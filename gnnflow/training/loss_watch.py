"""Notices that a run has diverged: losses, and then weights, that are NaN or infinite."""

import logging
import math
from typing import Literal

import numpy as np
import torch
from torch import nn

from gnnflow.comm import Context
from gnnflow.errors import DivergedError
from gnnflow.training.records.step_metrics import StepMetrics

_LOGGER = logging.getLogger(__name__)
_CAUSES = "take a smaller --lr or --clip-norm, or look for NaN and huge numbers in the features"


class LossWatch:
    """Ends the job at the first loss that is NaN or infinite, or says so once and lets it go on."""

    def __init__(self, ctx: Context, model: nn.Module, on_nan: Literal["stop", "warn"]) -> None:
        """Takes the job, what is trained, and what to do."""
        self._ctx = ctx
        self._model = model
        self._stops = on_nan == "stop"
        self._has_told = False
        self._has_placed = False

    def after_step(self, epoch: int, metrics: StepMetrics) -> None:
        """Looks at the loss of a step of this rank, which is a number in Python already.

        Raises:
            DivergedError: if that ends the job.
        """
        if math.isfinite(metrics.loss):
            return
        place = f"at step {metrics.step + 1} of epoch {epoch + 1}"
        if self._stops:
            # The same words on every rank that meets it in this step: it is told once, and with
            # the rank if that is one alone.
            raise _error(f"the loss is NaN or infinite {place}")
        if self._ctx.rank == 0:
            # It has spread to the weights of all ranks within a step.
            self._tell(f"the loss of rank 0 is {metrics.loss} {place}")

    def after_epoch(self, epoch: int, first: tuple[int, int] | None) -> None:
        """Looks at the weights; says where the first such loss was, if not on rank 0.

        Args:
            epoch: the epoch that is over.
            first: step and rank of the first such loss of the epoch.

        Raises:
            DivergedError: if that ends the job; all ranks call this and raise it.
        """
        if first is not None and self._ctx.rank == 0 and not self._has_placed:
            self._has_placed = True
            if first[1] != 0:
                _LOGGER.warning(
                    "the first such loss of epoch %d was on rank %d, at step %d",
                    *(epoch + 1, first[1], first[0] + 1),
                )
        self.has_weights(f"after epoch {epoch + 1}")

    def has_weights(self, place: str) -> bool:
        """Whether the weights are numbers, on all ranks, which call this together.

        Args:
            place: when, in words.

        Raises:
            DivergedError: if they are not and that ends the job.
        """
        parameters = list(self._model.parameters())
        with torch.no_grad():
            finite = all(bool(torch.isfinite(each).all()) for each in parameters)
        if np.min(self._ctx.allgather_array(np.array([finite]))):
            return True
        text = f"weights are NaN or infinite {place}"
        if self._stops:
            raise _error(text)
        if self._ctx.rank == 0:
            self._tell(text)
        return False

    def _tell(self, text: str) -> None:
        if not self._has_told:
            self._has_told = True
            _LOGGER.warning("%s; %s; weights that are no numbers are not saved", text, _CAUSES)


def _error(text: str) -> DivergedError:
    return DivergedError(
        f"{text}; {_CAUSES}; checkpoints from before stay as they are, --on-nan warn goes on"
    )
