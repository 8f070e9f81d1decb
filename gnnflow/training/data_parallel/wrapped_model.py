"""Data parallel training in which every seed of the job counts the same."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn

# torch.distributed has it too, but does not export it to type checkers.
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.nn.parameter import is_lazy
from torch.utils import _pytree as pytree

from gnnflow.comm import Context
from gnnflow.errors import ConfigError
from gnnflow.training.data_parallel.alike import check_alike, shared_buffers, shared_parameters
from gnnflow.training.data_parallel.gradient_sum import (
    GRADIENT_DTYPES,
    CrossRankLayer,
    GradientDtype,
    GradientSum,
    eager_caller,
    sum_gradients,
)
from gnnflow.training.data_parallel.process_group import end_job, ensure_process_group

_SHARE = "_gnnflow_share_of_seeds"


class WeightedDataParallel(DistributedDataParallel):
    """A `DistributedDataParallel` with the weighted sum of gradients as its hook."""

    def __init__(
        self,
        model: nn.Module,
        ctx: Context,
        *,
        find_unused_parameters: bool,
        gradient_dtype: GradientDtype,
    ) -> None:
        """Wraps a model that is already on its device; `wrap` does this."""
        ensure_process_group(ctx, _device_of(model))
        device = _device_of(model)
        try:
            super().__init__(
                model,
                device_ids=[device] if device.type == "cuda" else None,
                find_unused_parameters=find_unused_parameters,
            )
        except RuntimeError as error:
            end_job(ctx, "handing out the model", error)
        # Ranks have their own until `sync_buffers`. Rank 0's in every step would leave out what the
        # other ranks saw, and would change under a model that is called twice in a step.
        self.broadcast_buffers = False
        self._ctx = ctx
        layers = [module for module in model.modules() if isinstance(module, CrossRankLayer)]
        self.gradient_dtype = gradient_dtype
        """How float32 gradients travel between ranks."""
        self._gradient_sum = GradientSum(
            ctx, reaches_other_ranks=bool(layers), gradient_dtype=gradient_dtype
        )
        for layer in layers:
            layer.weigh_with(self._gradient_sum)
        self.register_comm_hook(self._gradient_sum, sum_gradients)
        if not find_unused_parameters:
            self._settle_buckets()
            self._gradient_sum.take_seconds()
        self._eagerly = eager_caller()
        self.take_all_reduce_seconds = self._gradient_sum.take_seconds

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """Calls the model."""
        weight = self._eagerly(self._weight_of_call, (inputs, kwargs))
        try:
            output = super().forward(*inputs, **kwargs)  # type: ignore[no-untyped-call]
        except (RuntimeError, ValueError) as error:
            self._explain(error)
            raise
        self._eagerly(self._weigh, output, weight)
        return output

    def _weight_of_call(self, inputs: object) -> float:
        if not (self.training or torch.is_grad_enabled()):
            return 0.0
        weight = self._gradient_sum.weight_of_call(inputs)
        if self.training:
            add_share(self.module, weight)
        return weight

    def _weigh(self, output: object, weight: float) -> None:
        if not torch.is_grad_enabled():
            return
        scale = functools.partial(self._gradient_sum.scale, weight=weight)
        for tensor in pytree.tree_leaves(output):
            if isinstance(tensor, Tensor) and tensor.requires_grad:
                tensor.register_hook(scale)  # type: ignore[no-untyped-call]

    def _explain(self, error: Exception) -> None:
        """Says in one line what torch says in many, or without a remedy."""
        if "Expected more than 1 value per channel" in str(error):
            raise ConfigError(
                f"the minibatch of rank {self._ctx.rank} has one row, too few for batch "
                "normalization over the rows of a rank; normalize over those of all ranks: "
                "gnnflow.SyncBatchNorm.convert_sync_batchnorm(model, ctx) before wrap"
            ) from None
        if "Expected more than 1 spatial element" in str(error):
            raise ConfigError(
                f"the minibatch of rank {self._ctx.rank} has one vertex, of which instance "
                "normalization makes nothing; normalize otherwise, as with "
                "torch_geometric.nn.LayerNorm"
            ) from None
        if "Expected to have finished reduction" in str(error):
            unused = [
                name
                for name, parameter in shared_parameters(self.module).items()
                if parameter.requires_grad and parameter.grad is None
            ]
            names = f", as '{unused[0]}'" if unused else ""
            raise ConfigError(
                f"parameters got no gradient in the last step{names}; give "
                "wrap(..., find_unused_parameters=True), or freeze them before wrap"
            ) from None

    def _settle_buckets(self) -> None:
        """Takes a backward pass without the model, after which gradients keep their buckets.

        DistributedDataParallel arranges buckets anew after its first pass, and sums round by the
        place in a bucket: a run that goes on from a checkpoint would round its first step
        otherwise than one that was never interrupted.
        """
        module = self.module
        self.module = _SumOfParameters(module)
        try:
            with torch.enable_grad(), _without_gradients(module):
                total = DistributedDataParallel.forward(self)  # type: ignore[no-untyped-call]
                torch.autograd.backward(total)
        finally:
            self.module = module


class _SumOfParameters(nn.Module):
    """Stands in for a module: uses every parameter."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._used = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._sparse = {
            id(child.weight)
            for child in module.modules()
            if isinstance(child, nn.Embedding | nn.EmbeddingBag) and child.sparse
        }

    def forward(self) -> Tensor:
        total = self._used[0].new_zeros((), dtype=torch.float32)
        for parameter in self._used:
            total = total + self._sum(parameter).to(total) * 0.0
        return total

    def _sum(self, parameter: nn.Parameter) -> Tensor:
        if id(parameter) in self._sparse:
            nothing = torch.empty(0, dtype=torch.int64, device=parameter.device)
            return functional.embedding(nothing, parameter, sparse=True).sum()
        return (torch.view_as_real(parameter) if parameter.is_complex() else parameter).sum()


@contextmanager
def _without_gradients(module: nn.Module) -> Iterator[None]:
    """Puts gradients, and what waits for them, aside."""
    gradients = [(parameter, parameter.grad) for parameter in module.parameters()]
    hooks = [
        (hooks, dict(hooks))
        for parameter, _ in gradients
        for hooks in (parameter._backward_hooks, parameter._post_accumulate_grad_hooks)
        if hooks
    ]
    for waiting, _ in hooks:
        waiting.clear()
    for parameter, _ in gradients:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, gradient in gradients:
            parameter.grad = gradient
        for waiting, kept in hooks:
            waiting.update(kept)


def wrap(
    model: nn.Module,
    ctx: Context,
    *,
    find_unused_parameters: bool = False,
    gradient_dtype: GradientDtype = "float32",
) -> nn.Module:
    """Makes a model train on all ranks as if one process took all their minibatches.

    The result is a `DistributedDataParallel` whose gradients are the mean over the seeds of the
    whole job, exactly, for a loss that is the mean over the seeds of a rank's batch. Batches may
    have different sizes or be empty: tensors that a loader yields, and views of them, carry their
    rank's share of the step to the model, also where several loaders take turns or losses of
    several batches are added up. What carries none, as a copy on another device, counts with the
    share of the batch that was yielded last, `ctx.loss_weight`. In one process, or if there is
    nothing to train, the model itself is returned. Weights and buffers start as rank 0 has them.
    Every rank must call this.

    Each rank keeps buffers, such as the running statistics of batch normalization, for itself while
    it trains; `sync_buffers` makes them one state, and evaluation, inference and checkpoints call
    it. `SyncBatchNorm` normalizes over the rows of all ranks.

    Args:
        model: any module, already on its device.
        ctx: the job.
        find_unused_parameters: for models in which some parameters get no gradient in some steps.
        gradient_dtype: `bfloat16` sends gradients in half the bytes, for slow links: each number is
            rounded twice, and added up as float32. What is not float32 travels as it is.

    Raises:
        ConfigError: if the model has parameters without a shape, differs between ranks, or has a
            layer that does not know the shares of ranks, or there is no such `gradient_dtype`.
    """
    if gradient_dtype not in GRADIENT_DTYPES:
        known = ", ".join(GRADIENT_DTYPES)
        raise ConfigError(f"gradient_dtype must be one of {known}, got {gradient_dtype!r}")
    if ctx.num_ranks == 1:
        return model
    for name, module in model.named_modules():
        if isinstance(module, nn.SyncBatchNorm):
            raise ConfigError(
                f"'{name}' is torch's SyncBatchNorm, which needs GPUs and counts all ranks alike; "
                "give the model to gnnflow.SyncBatchNorm.convert_sync_batchnorm(model, ctx)"
            )
    state = {**shared_parameters(model), **shared_buffers(model)}
    for name, tensor in state.items():
        if is_lazy(tensor):
            raise ConfigError(
                f"'{name}' has no shape before the model's first call; call it with a minibatch "
                "before wrap: with torch.no_grad(): model(batch.x, batch.edge_index)"
            )
    check_alike(ctx, model, state)
    if not any(parameter.requires_grad for parameter in shared_parameters(model).values()):
        _take_from_rank_0(ctx, model, state)
        return model
    return WeightedDataParallel(
        model,
        ctx,
        find_unused_parameters=find_unused_parameters,
        gradient_dtype=gradient_dtype,
    )


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside what `wrap` and `torch.compile` returned, in whatever order."""
    while True:
        compiled = model._modules.get("_orig_mod")
        if isinstance(model, DistributedDataParallel):
            model = model.module
        elif compiled is not None:
            model = compiled
        else:
            return model


def gradient_bytes(model: nn.Module) -> int:
    """Bytes of the gradients of a model as they travel between ranks."""
    halves = isinstance(model, WeightedDataParallel) and model.gradient_dtype == "bfloat16"
    return sum((2 if halves else 4) * parameter.numel() for parameter in model.parameters())


def add_share(model: nn.Module, share: float) -> None:
    """Notes that a model has been trained on a share of the job's seeds here."""
    inner = unwrap(model)
    setattr(inner, _SHARE, getattr(inner, _SHARE, 0.0) + share)


def take_share(model: nn.Module) -> float:
    """The shares of the job's seeds in the steps since the last call, added up."""
    inner = unwrap(model)
    share = float(getattr(inner, _SHARE, 0.0))
    setattr(inner, _SHARE, 0.0)
    return share


def _take_from_rank_0(ctx: Context, model: nn.Module, state: dict[str, Tensor]) -> None:
    ensure_process_group(ctx, _device_of(model))
    try:
        for tensor in state.values():
            distributed.broadcast(tensor.detach(), 0)
    except RuntimeError as error:
        end_job(ctx, "handing out the model", error)


def _device_of(model: nn.Module) -> torch.device:
    tensor = next(model.parameters(), next(model.buffers(), None))
    return torch.device("cpu") if tensor is None else tensor.device
