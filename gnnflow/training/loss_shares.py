"""What the losses of ranks count with when seeds count differently, as with class weights."""

import numpy as np
from numpy.typing import NDArray

from gnnflow.comm import Context
from gnnflow.loader import SeedSchedule


class LossShares:
    """This rank's share of the weight of all seeds in each step.

    A weighted mean divides by the weights in the batch, so ranks must count with the weight of
    their seeds and not with their number: then the summed gradient is exactly that of the weighted
    mean over the seeds of the job.
    """

    def __init__(
        self, ctx: Context, schedule: SeedSchedule, seed_weights: NDArray[np.float64]
    ) -> None:
        """Takes the weights of the seeds.

        Args:
            ctx: the job.
            schedule: which seeds a step takes.
            seed_weights: float64 `[num_seeds]`: weight of each seed of `schedule.seeds`.
        """
        self._ctx = ctx
        self._schedule = schedule
        self._weights = seed_weights
        self._shares: NDArray[np.float64] = np.zeros(0)

    def set_epoch(self, epoch: int) -> None:
        """Works out the shares of an epoch; all ranks call this, one message for all steps."""
        steps = range(self._schedule.num_steps)
        own = np.array(
            [self._weights[self._schedule.batch(epoch, step).input_id].sum() for step in steps]
        )
        total = self._ctx.allreduce_sum(own)
        self._shares = np.divide(own, total, out=np.zeros_like(own), where=total > 0)

    def apply(self, step: int) -> float:
        """Sets what the gradient of this rank counts with in a step, and returns it, in [0, 1].

        Call it after the loader has yielded the batch, which sets the share of the seeds.
        """
        share = float(self._shares[step])
        self._ctx.loss_weight = share
        return share
