"""Data parallel training in which every seed of the job counts the same."""

import time
from typing import cast

import torch
from torch import Tensor, distributed, nn

# torch.distributed has it too, but does not export it to type checkers.
from torch._C._distributed_c10d import GradBucket
from torch.nn.parallel import DistributedDataParallel

from gnnflow.comm import Context
from gnnflow.training.process_group import end_job, ensure_process_group


class GradientSum:
    """Sums gradients over ranks, each with its rank's share of the minibatch's seeds.

    Ranks compute the mean loss of their own seeds. With the shares as weights the sum of the
    gradients is that of the mean over all seeds of the job, however unevenly they are distributed.
    """

    def __init__(self, ctx: Context) -> None:
        """Takes the job, whose `loss_weight` the loader keeps."""
        self._ctx = ctx
        self._first_start_s = 0.0
        self._last_end_s = 0.0

    @property
    def weight(self) -> float:
        """What the gradient of this rank counts with in the current step."""
        weight = self._ctx.loss_weight
        return 1.0 / self._ctx.num_ranks if weight is None else weight

    def take_seconds(self) -> float:
        """Seconds from the first bucket handed over to the last one summed since the last call."""
        elapsed = self._last_end_s - self._first_start_s if self._first_start_s else 0.0
        self._first_start_s = 0.0
        return max(elapsed, 0.0)

    def reduce_bucket(self, gradient: Tensor) -> torch.futures.Future[Tensor]:
        """Starts the weighted sum of a bucket of gradients, in place."""
        if not self._first_start_s:
            self._first_start_s = time.perf_counter()
        if self.weight == 0.0:
            # The mean over no seeds is NaN, and NaN times 0 still is.
            gradient.zero_()
        else:
            gradient.mul_(self.weight)
        try:
            work = distributed.all_reduce(gradient, async_op=True)
        except RuntimeError as error:
            end_job(self._ctx, "the sum of gradients", error)
        future = cast("torch.futures.Future[list[Tensor]]", work.get_future())
        return future.then(self._finish_bucket)

    def _finish_bucket(self, future: torch.futures.Future[list[Tensor]]) -> Tensor:
        self._last_end_s = time.perf_counter()
        try:
            return future.value()[0]
        except RuntimeError as error:
            end_job(self._ctx, "the sum of gradients", error)


def sum_gradients(state: GradientSum, bucket: GradBucket) -> torch.futures.Future[Tensor]:
    """The communication hook that `wrap` registers; users may register it themselves."""
    return state.reduce_bucket(bucket.buffer())


class WeightedDataParallel(DistributedDataParallel):
    """A `DistributedDataParallel` with the weighted sum of gradients as its hook."""

    def __init__(self, model: nn.Module, ctx: Context, *, find_unused_parameters: bool) -> None:
        """Wraps a model that is already on its device; `wrap` does this."""
        device = next(model.parameters()).device
        ensure_process_group(ctx, device)
        try:
            super().__init__(
                model,
                device_ids=[device] if device.type == "cuda" else None,
                find_unused_parameters=find_unused_parameters,
            )
        except RuntimeError as error:
            end_job(ctx, "handing out the model", error)
        gradient_sum = GradientSum(ctx)
        self.register_comm_hook(gradient_sum, sum_gradients)
        if not find_unused_parameters:
            self._settle_buckets()
            gradient_sum.take_seconds()
        self.take_all_reduce_seconds = gradient_sum.take_seconds

    def _settle_buckets(self) -> None:
        """Takes a backward pass without the model, after which gradients keep their buckets.

        DistributedDataParallel arranges buckets anew after its first pass, and sums round by the
        place in a bucket: a run that goes on from a checkpoint would round its first step
        otherwise than one that was never interrupted.
        """
        module = self.module
        self.module = _SumOfParameters(module)
        try:
            torch.autograd.backward(self())
        finally:
            self.module = module
            self.zero_grad()


class _SumOfParameters(nn.Module):
    """Stands in for a module: uses every parameter."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._used = [parameter for parameter in module.parameters() if parameter.requires_grad]

    def forward(self) -> Tensor:
        total = self._used[0].new_zeros(())
        for parameter in self._used:
            total = total + parameter.sum().to(total) * 0.0
        return total


def wrap(model: nn.Module, ctx: Context, *, find_unused_parameters: bool = False) -> nn.Module:
    """Makes a model train on all ranks as if one process took all their minibatches.

    The result is a `DistributedDataParallel` whose gradients are the mean over the seeds of the
    whole job, exactly, for a loss that is the mean over the seeds of a rank's batch. Batches may
    have different sizes or be empty; the share of each rank comes from the `DistNeighborLoader`
    that last yielded a batch. In one process the model itself is returned. Weights start
    as rank 0 has them. Every rank must call this.

    Args:
        model: any module, already on its device.
        ctx: the job.
        find_unused_parameters: for models in which some parameters get no gradient in some steps.
    """
    if ctx.num_ranks == 1:
        return model
    return WeightedDataParallel(model, ctx, find_unused_parameters=find_unused_parameters)


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside what `wrap` returned."""
    inner: nn.Module = model.module if isinstance(model, DistributedDataParallel) else model
    return inner
