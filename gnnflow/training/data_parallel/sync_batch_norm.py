"""Batch normalization over the minibatches of all ranks, exactly as in one process."""

from typing import Any, Self

import torch
from torch import Tensor, distributed, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parallel import DistributedDataParallel

from gnnflow.comm import Context
from gnnflow.errors import ConfigError
from gnnflow.training.data_parallel.gradient_sum import CrossRankLayer, GradientSum, eager_caller
from gnnflow.training.data_parallel.process_group import (
    end_job,
    ensure_process_group,
    second_process_group,
)


class SyncBatchNorm(_BatchNorm, CrossRankLayer):
    """Batch normalization whose statistics are those of the rows of all ranks in a step.

    As `torch.nn.SyncBatchNorm`, also on CPUs, and exact: in a model that `wrap` wraps, outputs,
    gradients and running statistics are those of one process that takes all minibatches at once,
    to rounding. Ranks may have any number of rows, also none; all of them must call the model
    equally often. If there is a single row in the whole job, running statistics normalize it.
    """

    def __init__(
        self,
        num_features: int,
        ctx: Context,
        *,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Makes the layer; every rank must call this.

        Args:
            num_features: channels, the second dimension of the input.
            ctx: the job.
            eps: added to variances.
            momentum: what a step counts with in the running statistics; None takes their mean.
            affine: whether there are weights and biases.
            track_running_stats: whether there are running statistics.
            device: where it is.
            dtype: of weights and statistics.
        """
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)
        self._job: _JobOfLayers | None = _JobOfLayers.of(
            ctx, torch.device("cpu") if device is None else device
        )

    @classmethod
    def convert_sync_batchnorm(cls, model: nn.Module, ctx: Context) -> nn.Module:
        """Replaces every batch normalization in a model by one over all ranks; all call this.

        `torch.nn.BatchNorm1d` and its kin, PyG's `BatchNorm` and all that is made of them are
        replaced; weights, statistics and names in the `state_dict` stay.

        Args:
            model: the model, before `wrap`.
            ctx: the job.

        Returns:
            The model, or the new layer if the model is one itself.

        Raises:
            ConfigError: if the model is wrapped already or has a layer without a size.
        """
        if any(isinstance(module, DistributedDataParallel) for module in model.modules()):
            raise ConfigError("convert_sync_batchnorm needs the model before wrap; swap the two")
        tensor = next(model.parameters(), next(model.buffers(), None))
        job = _JobOfLayers.of(ctx, torch.device("cpu") if tensor is None else tensor.device)
        new: dict[nn.Module, nn.Module] = {}
        for name, module in model.named_modules():
            if isinstance(module, _BatchNorm) and not isinstance(module, cls):
                new[module] = cls._from(module, name, job)
        for module in list(model.modules()):
            for name, child in module._modules.items():
                if child in new:
                    module._modules[name] = new[child]
                    if getattr(module, "allow_single_element", False):
                        # PyG's would leave the other ranks alone where it finds a single row.
                        setattr(module, "allow_single_element", False)  # noqa: B010
        return new.get(model, model)

    @classmethod
    def _from(cls, module: _BatchNorm, name: str, job: "_JobOfLayers") -> Self:
        if isinstance(module, LazyModuleMixin):
            raise ConfigError(
                f"{name or type(module).__name__} has no size yet; call the model with a minibatch "
                "before convert_sync_batchnorm"
            )
        layer = cls.__new__(cls)
        _BatchNorm.__init__(layer, module.num_features, module.eps, module.momentum, affine=False)
        layer.affine, layer.track_running_stats = module.affine, module.track_running_stats
        layer.register_parameter("weight", module.weight)
        layer.register_parameter("bias", module.bias)
        for buffer in ("running_mean", "running_var", "num_batches_tracked"):
            layer.register_buffer(buffer, getattr(module, buffer))
        layer._job = job
        layer.train(module.training)
        return layer

    def weigh_with(self, gradient_sum: GradientSum) -> None:
        """Takes what sums the gradients of the model that the layer is in; `wrap` calls this."""
        if self._job is not None:
            self._job = self._job.weighing_with(gradient_sum)

    def forward(self, input: Tensor) -> Tensor:
        """Normalizes `[num_rows, num_features, ...]`; while training all ranks call this."""
        if not self.training:
            return super().forward(input)
        if self._job is None:
            raise ConfigError(
                "a SyncBatchNorm that was unpickled belongs to no job; give the model to "
                "SyncBatchNorm.convert_sync_batchnorm again"
            )
        output: Tensor = self._job.eagerly(self._normalize, input, self._job)
        return output

    def _normalize(self, input: Tensor, job: "_JobOfLayers") -> Tensor:
        self._check_input_dim(input)
        factor = 0.0 if self.momentum is None else self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                factor = 1.0 / float(self.num_batches_tracked)
        num_rows, mean, variance = job.moments(input.detach())
        if num_rows > 1:
            self._update(num_rows, mean, variance, factor)
            output: Tensor = _Normalize.apply(  # type: ignore[no-untyped-call]
                input, self.weight, self.bias, mean, variance, self.eps, num_rows, job
            )
            return output
        if self.running_mean is not None and self.running_var is not None:
            mean, variance = self.running_mean, self.running_var
        elif num_rows:
            raise ConfigError(
                "batch normalization without running statistics needs more than one row in all "
                "minibatches of a step together; take track_running_stats=True or a larger batch"
            )
        return functional.batch_norm(
            input, mean, variance, self.weight, self.bias, False, 0.0, self.eps
        )

    def _update(self, num_rows: int, mean: Tensor, variance: Tensor, factor: float) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        with torch.no_grad():
            unbiased = variance * (num_rows / (num_rows - 1))
            self.running_mean.lerp_(mean.to(self.running_mean), factor)
            self.running_var.lerp_(unbiased.to(self.running_var), factor)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least 2D input (got {input.dim()}D input)")


class _JobOfLayers:
    """What layers know of the job; copies of a model share it, and files do not hold it."""

    def __init__(
        self,
        ctx: Context,
        group: distributed.ProcessGroup | None,
        gradient_sum: GradientSum | None = None,
    ) -> None:
        self._ctx = ctx
        self._group = group
        self._gradient_sum = gradient_sum or GradientSum(ctx, reaches_other_ranks=True)
        self.eagerly = eager_caller()
        """Calls a function, also in a compiled model: compilers see no operations of groups."""

    @classmethod
    def of(cls, ctx: Context, device: torch.device) -> Self:
        if ctx.num_ranks == 1:
            return cls(ctx, None)
        ensure_process_group(ctx, device)
        # Sums of gradients go on meanwhile, not always in the same order.
        return cls(ctx, second_process_group(ctx))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return type(None), ()

    @property
    def weight(self) -> float:
        """What the gradients of this rank will count with."""
        return self._gradient_sum.weight

    def weighing_with(self, gradient_sum: GradientSum) -> "_JobOfLayers":
        """The same job, for layers of a model whose gradients are summed by this."""
        return _JobOfLayers(self._ctx, self._group, gradient_sum)

    def moments(self, rows: Tensor) -> tuple[int, Tensor, Tensor]:
        """Number, mean and variance of the rows of all ranks."""
        dims = _all_but_channels(rows)
        exact = rows.dtype if rows.dtype == torch.float64 else torch.float32
        num_rows = rows.numel() // max(rows.shape[1], 1)
        sums = rows.new_zeros((3, rows.shape[1]), dtype=torch.float64)
        if num_rows:
            variance, mean = torch.var_mean(rows.to(exact), dim=dims, correction=0)
            mean = mean.double()
            sums[0] = 1.0
            sums[1] = mean
            sums[2] = variance.double() + mean * mean
            sums *= num_rows
        self.add_up(sums)
        total = int(sums[0].max()) if rows.shape[1] else 0
        mean = sums[1] / max(total, 1)
        variance = (sums[2] / max(total, 1) - mean * mean).clamp_min_(0.0)
        return total, mean.to(exact), variance.to(exact)

    def add_up(self, values: Tensor) -> None:
        """Adds up values over ranks, in place."""
        if self._group is None:
            return
        try:
            distributed.all_reduce(values, group=self._group)
        except RuntimeError as error:
            end_job(self._ctx, "the statistics of batch normalization", error)


class _Normalize(torch.autograd.Function):
    """Normalizes rows; the gradient goes to the rows of all ranks.

    The gradients of a rank are those of its own mean loss, and will be multiplied by its weight
    when they are summed. What other ranks contribute here is therefore multiplied by theirs, and
    divided by this rank's.
    """

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        eps: float,
        num_rows: int,
        job: _JobOfLayers,
    ) -> Tensor:
        ctx.save_for_backward(rows, weight, mean, torch.rsqrt(variance + eps))
        ctx.num_rows, ctx.job = num_rows, job
        return functional.batch_norm(rows, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, mean, inverse_std = ctx.saved_tensors
        dims = _all_but_channels(rows)
        shape = [1, -1] + [1] * (rows.dim() - 2)
        exact = gradient.to(mean.dtype)
        normal = (rows.to(mean.dtype) - mean.view(shape)) * inverse_std.view(shape)
        sums = torch.stack([exact.sum(dims), (exact * normal).sum(dims)])
        of_rows = None
        if ctx.needs_input_grad[0]:
            own = ctx.job.weight
            everywhere = sums.double() * own
            ctx.job.add_up(everywhere)
            first, second = (everywhere / (ctx.num_rows * own)).to(mean.dtype)
            scale = inverse_std if weight is None else inverse_std * weight
            of_rows = (exact - first.view(shape) - normal * second.view(shape)) * scale.view(shape)
            of_rows = of_rows.to(rows.dtype)
        of_weight = sums[1].to(weight.dtype) if ctx.needs_input_grad[1] else None
        of_bias = sums[0].to(weight.dtype) if ctx.needs_input_grad[2] else None
        return of_rows, of_weight, of_bias, None, None, None, None, None


def _all_but_channels(rows: Tensor) -> list[int]:
    return [0, *range(2, rows.dim())]
