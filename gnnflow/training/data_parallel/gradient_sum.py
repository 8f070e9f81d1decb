"""The sum of gradients over ranks, each with the share of the batches that it comes from."""

import time
from collections.abc import Callable
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, distributed

# torch.distributed has it too, but does not export it to type checkers.
from torch._C._distributed_c10d import GradBucket

from gnnflow.comm import Context
from gnnflow.loader.loss_weight import marked_weight
from gnnflow.training.data_parallel.process_group import end_job

GradientDtype = Literal["float32", "bfloat16"]
"""How float32 gradients travel between ranks."""
GRADIENT_DTYPES: tuple[GradientDtype, ...] = get_args(GradientDtype)

# Of gradients that only other ranks' losses have on a rank whose own loss does not count. A power
# of two, so that what is divided by it and multiplied again is the same.
_NO_SHARE = 2.0**-20


def eager_caller() -> Callable[..., Any]:
    """What calls a function with arguments outside of compiled code, also in a compiled model."""
    caller: Callable[..., Any] = torch.compiler.disable(_call)  # type: ignore[no-untyped-call]
    return caller


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


class CrossRankLayer:
    """Marks layers through which the losses of other ranks reach the gradients of a rank.

    They give it the gradients of their losses times their weight over its own.
    """

    def weigh_with(self, gradient_sum: "GradientSum") -> None:
        """Takes what sums the gradients of the model that the layer is in; `wrap` calls this."""


class GradientSum:
    """Sums gradients over ranks, each with its rank's share of the minibatch's seeds.

    Ranks compute the mean loss of their own seeds. With the shares as weights the sum of the
    gradients is that of the mean over all seeds of the job, however unevenly they are distributed.
    """

    def __init__(
        self,
        ctx: Context,
        *,
        reaches_other_ranks: bool = False,
        gradient_dtype: GradientDtype = "float32",
    ) -> None:
        """Takes the job, whose `loss_weight` the loader keeps for what carries no weight itself.

        Args:
            ctx: the job.
            reaches_other_ranks: whether the model has a `CrossRankLayer`.
            gradient_dtype: how float32 gradients travel; others travel as they are.
        """
        self._ctx = ctx
        self._rounds = gradient_dtype == "bfloat16"
        self._reaches_other_ranks = reaches_other_ranks
        self._first_start_s = 0.0
        self._last_end_s = 0.0
        self._of_first_call: float | None = None
        self._summed = False

    @property
    def weight(self) -> float:
        """What the gradient of this rank counts with in the current step."""
        weight = self._of_first_call
        if weight is None or self._is_set_by_hand:
            weight = self._of_job
        return weight or (_NO_SHARE if self._reaches_other_ranks else 0.0)

    def weight_of_call(self, inputs: object) -> float:
        """Takes what the losses of a call of the model count with: the weight of its batch.

        If calls before one sum of gradients have different weights, those after the first one that
        counts are made up for by `scale`.

        Args:
            inputs: all arguments of the call.
        """
        marked = None if self._is_set_by_hand else marked_weight(inputs)
        weight = self._of_job if marked is None else marked
        if torch.is_grad_enabled():
            self._of_first_call = weight if self._summed else self._of_first_call or weight
            self._summed = False
        return weight

    def scale(self, gradient: Tensor, weight: float) -> Tensor | None:
        """The gradient of an output of a call, to count as it should in the sum.

        Args:
            gradient: of the loss, as torch computed it.
            weight: what `weight_of_call` returned.

        Returns:
            None to leave it as it is.
        """
        if self._is_set_by_hand:
            weight = of_sum = self._of_job
        else:
            of_sum = self._of_first_call or 0.0
        if weight == 0.0:
            # The mean over no seeds is NaN, which must not reach what other calls or ranks add.
            needed = self._reaches_other_ranks or of_sum != 0.0
            return torch.zeros_like(gradient) if needed else None
        return None if weight == of_sum or of_sum == 0.0 else gradient * (weight / of_sum)

    @property
    def _is_set_by_hand(self) -> bool:
        return self._ctx.loss_weight != self._ctx.batch_weight

    @property
    def _of_job(self) -> float:
        weight = self._ctx.loss_weight
        return 1.0 / self._ctx.num_ranks if weight is None else weight

    def take_seconds(self) -> float:
        """Seconds from the first bucket handed over to the last one summed since the last call."""
        elapsed = self._last_end_s - self._first_start_s if self._first_start_s else 0.0
        self._first_start_s = 0.0
        return max(elapsed, 0.0)

    def reduce_bucket(self, gradient: Tensor) -> torch.futures.Future[Tensor]:
        """Starts the weighted sum of a bucket of gradients, in place."""
        self._summed = True
        if not self._first_start_s:
            self._first_start_s = time.perf_counter()
        weight = self.weight
        if weight == 0.0:
            # The mean over no seeds is NaN, and NaN times 0 still is.
            gradient.zero_()
        else:
            gradient.mul_(weight)
        try:
            if self._rounds and gradient.dtype == torch.float32 and not gradient.is_sparse:
                return self._sum_in_halves(gradient)
            work = distributed.all_reduce(gradient, async_op=True)
        except RuntimeError as error:
            end_job(self._ctx, "the sum of gradients", error)
        future = cast("torch.futures.Future[list[Tensor]]", work.get_future())
        return future.then(self._finish_bucket)

    def _sum_in_halves(self, gradient: Tensor) -> torch.futures.Future[Tensor]:
        """Sums a bucket whose numbers travel as bfloat16 and are added up as float32.

        Each rank adds up a piece of it from all ranks and hands out the sum: a number is rounded
        twice however many ranks there are, and all ranks get the same. Waits for either exchange,
        so that ranks take them in one order.
        """
        num_ranks, size = self._ctx.num_ranks, gradient.numel()
        piece = -(-size // num_ranks)
        sent = gradient.new_zeros(piece * num_ranks, dtype=torch.bfloat16)
        sent[:size] = gradient
        received = torch.empty_like(sent)
        # As bytes, which every backend moves.
        distributed.all_to_all_single(received.view(torch.uint8), sent.view(torch.uint8))
        own = received.view(num_ranks, piece).sum(dim=0, dtype=torch.float32).bfloat16()
        pieces = list(sent.view(num_ranks, piece).view(torch.uint8))
        distributed.all_gather(pieces, own.view(torch.uint8))
        gradient.copy_(sent[:size])
        self._last_end_s = time.perf_counter()
        devices: list[int | str | torch.device] = [gradient.device] if gradient.is_cuda else []
        future: torch.futures.Future[Tensor] = torch.futures.Future(devices=devices or None)
        future.set_result(gradient)
        return future

    def _finish_bucket(self, future: torch.futures.Future[list[Tensor]]) -> Tensor:
        self._last_end_s = time.perf_counter()
        try:
            return future.value()[0]
        except RuntimeError as error:
            end_job(self._ctx, "the sum of gradients", error)


def sum_gradients(state: GradientSum, bucket: GradBucket) -> torch.futures.Future[Tensor]:
    """The communication hook that `wrap` registers; users may register it themselves."""
    return state.reduce_bucket(bucket.buffer())
