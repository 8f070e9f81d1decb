"""Sums and means over in-neighbours with their gradients, on rows in main memory."""

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from gnnflow.models.layer_adjacency import LayerAdjacency


def aggregate(x: Tensor, adjacency: "LayerAdjacency", reduce: Literal["mean", "sum"]) -> Tensor:
    """Reduces the rows of every destination's sources."""
    out = x.new_zeros((adjacency.num_dst, x.shape[1]))
    out = out.index_add(0, adjacency.dst(), x.index_select(0, adjacency.src))
    if reduce == "mean":
        out = out / adjacency.indptr.diff().clamp(min=1)[:, None]
    return out


def transpose(indptr: Tensor, src: Tensor, num_src: int) -> tuple[Tensor, Tensor]:
    """Lists the destinations of each source."""
    order = torch.argsort(src, stable=True)
    dst = torch.repeat_interleave(indptr.diff())
    by_source = torch.zeros(num_src + 1, dtype=torch.int64)
    torch.cumsum(torch.bincount(src, minlength=num_src), 0, out=by_source[1:])
    return by_source, dst[order]
