"""Sums and means over in-neighbours with their gradients, on rows in main memory."""

from typing import Any, Literal, cast

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
    return cast(Tensor, _Aggregation.apply(x, adjacency, reduce == "mean"))  # type: ignore[no-untyped-call]


class _Aggregation(torch.autograd.Function):
    """A sparse-dense product whose backward pass needs no sorting and no atomic additions."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, adjacency: LayerAdjacency, mean: bool) -> Tensor:
        ctx.adjacency, ctx.mean = adjacency, mean
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

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, None]:
        if not ctx.needs_input_grad[0]:
            return None, None, None
        adjacency: LayerAdjacency = ctx.adjacency.with_transpose()
        assert adjacency.by_source is not None
        indptr, dst = adjacency.by_source
        out = grads[0].new_empty((adjacency.num_src, grads[0].shape[1]))
        _kernels.spmm_backward(
            out.numpy(),
            indptr,
            dst,
            grads[0].detach().contiguous().numpy(),
            adjacency.indptr.numpy() if ctx.mean else None,
            torch.get_num_threads(),
        )
        return out, None, None
