"""Sums and means over in-neighbours with their gradients, on rows in main memory."""

from typing import Any, Literal

import torch
from torch import Tensor

from gnnflow import _kernels
from gnnflow.models.layer_adjacency import LayerAdjacency


def runs_on_kernels(x: Tensor) -> bool:
    """Whether `aggregate` takes these rows: float32 or float64 in main memory."""
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)


def aggregate(x: Tensor, adjacency: LayerAdjacency, reduce: Literal["mean", "sum"]) -> Tensor:
    """Reduces the rows of every destination's sources, as PyG's aggregations do.

    Args:
        x: `[num_src, dim]` rows that `runs_on_kernels` accepts.
        adjacency: the edges.
        reduce: mean or sum; no sources give zeros.

    Returns:
        `[num_dst, dim]`, differentiable in `x`.
    """
    out: Tensor = _Aggregation.apply(x, adjacency, reduce == "mean")  # type: ignore[no-untyped-call]
    return out


def sage_layer(
    x: Tensor, adjacency: LayerAdjacency, neighbor_weight: Tensor, bias: Tensor, own_weight: Tensor
) -> Tensor:
    """A GraphSAGE layer in one step of autograd, which saves passes over large rows.

    Args:
        x: `[num_src, dim_in]` rows that `runs_on_kernels` accepts.
        adjacency: the edges.
        neighbor_weight: `[dim_out, dim_in]`, for the mean of the sources' rows.
        bias: `[dim_out]`.
        own_weight: `[dim_out, dim_in]`, for the destination's own row.

    Returns:
        `[num_dst, dim_out]`, differentiable in everything but the edges.
    """
    out: Tensor = _SageLayer.apply(x, adjacency, neighbor_weight, bias, own_weight)  # type: ignore[no-untyped-call]
    return out


def _reduce(x: Tensor, adjacency: LayerAdjacency, *, mean: bool) -> Tensor:
    out = x.new_empty((adjacency.num_dst, x.shape[1]))
    _kernels.spmm(
        out.numpy(),
        adjacency.indptr.numpy(),
        adjacency.src.numpy(),
        x.detach().contiguous().numpy(),
        mean,
        torch.get_num_threads(),
    )
    return out


def _spread(grad: Tensor, adjacency: LayerAdjacency, *, mean: bool) -> Tensor:
    """The gradient of `_reduce` with respect to `x`."""
    by_source = adjacency.with_transpose().by_source
    assert by_source is not None
    out = grad.new_empty((adjacency.num_src, grad.shape[1]))
    _kernels.spmm_backward(
        out.numpy(),
        *by_source,
        grad.detach().contiguous().numpy(),
        adjacency.indptr.numpy() if mean else None,
        torch.get_num_threads(),
    )
    return out


class _Aggregation(torch.autograd.Function):
    """A sparse-dense product whose backward pass needs no sorting and no atomic additions."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, adjacency: LayerAdjacency, mean: bool) -> Tensor:
        ctx.adjacency, ctx.mean = adjacency, mean
        return _reduce(x, adjacency, mean=mean)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, None]:
        if not ctx.needs_input_grad[0]:
            return None, None, None
        return _spread(grads[0], ctx.adjacency, mean=ctx.mean), None, None


class _SageLayer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        adjacency: LayerAdjacency,
        neighbor_weight: Tensor,
        bias: Tensor,
        own_weight: Tensor,
    ) -> Tensor:
        mean = _reduce(x, adjacency, mean=True)
        ctx.adjacency = adjacency
        ctx.save_for_backward(x, mean, neighbor_weight, own_weight)
        out = torch.addmm(bias, mean, neighbor_weight.T)
        return out.addmm_(x[: adjacency.num_dst], own_weight.T)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad, adjacency = grads[0], ctx.adjacency
        x, mean, neighbor_weight, own_weight = ctx.saved_tensors
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = _spread(grad @ neighbor_weight, adjacency, mean=True)
            grad_x[: adjacency.num_dst].addmm_(grad, own_weight)
        own_rows = x[: adjacency.num_dst]
        return grad_x, None, grad.T @ mean, grad.sum(0), grad.T @ own_rows
