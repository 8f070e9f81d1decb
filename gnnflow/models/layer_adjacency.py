"""The edges of one layer of a minibatch, laid out for aggregation kernels."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnnflow import _kernels
from gnnflow.errors import DataError


@dataclass(frozen=True, slots=True)
class LayerAdjacency:
    """Edges by destination and, where a gradient flows back through them, by source too."""

    indptr: Tensor
    """`[num_dst + 1]` int64: destination `v` has the edges `indptr[v]` to `indptr[v + 1]`."""

    src: Tensor
    """`[num_edges]` int64: source of each edge."""

    num_src: int
    """Sources; the first `num_dst` of them are the destinations."""

    by_source: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
    """`[num_src + 1]` and `[num_edges]`: the destinations of each source's edges."""

    @property
    def num_dst(self) -> int:
        """Number of destinations."""
        return len(self.indptr) - 1

    def edge_index(self) -> Tensor:
        """`[2, num_edges]` positions of sources and destinations."""
        return torch.stack([self.src, self.dst()])

    def dst(self) -> Tensor:
        """`[num_edges]` int64: destination of each edge."""
        return torch.repeat_interleave(self.indptr.diff(), output_size=len(self.src))

    def to(self, device: torch.device) -> "LayerAdjacency":
        """The same edges on another device."""
        if self.indptr.device == device:
            return self
        return LayerAdjacency(self.indptr.to(device), self.src.to(device), self.num_src)

    def with_transpose(self) -> "LayerAdjacency":
        """The same edges with `by_source`, which the backward pass needs."""
        if self.by_source is not None:
            return self
        indptr, dst, _ = _kernels.transpose_csr(
            self.indptr.numpy(), self.src.numpy(), self.num_src, torch.get_num_threads()
        )
        return LayerAdjacency(self.indptr, self.src, self.num_src, (indptr, dst))


def layer_adjacencies(
    edge_index: Tensor,
    num_sampled_nodes_per_hop: Sequence[int],
    num_layers: int | None = None,
    *,
    first_is_stored: bool = False,
) -> list[LayerAdjacency]:
    """Cuts a minibatch into the adjacencies of its layers, first layer first.

    Args:
        edge_index: `[2, num_edges]`, sorted by destination as the sampler emits it, or the same
            as a sparse CSR `adj_t`.
        num_sampled_nodes_per_hop: `num_sampled_nodes` of the minibatch.
        num_layers: layers of the model that take edges, the number of hops by default.
        first_is_stored: whether a layer without edges comes before, through which gradients flow.

    Raises:
        DataError: if the edges are not sorted by destination, or the minibatch has fewer hops than
            the model has layers.
    """
    hops = len(num_sampled_nodes_per_hop) - 1
    num_layers = hops if num_layers is None else num_layers
    if num_layers > hops:
        raise DataError(
            f"the model has {num_layers} layers but the minibatch has {hops} hops; "
            "give one fanout per layer"
        )
    num_vertices = list(accumulate(num_sampled_nodes_per_hop))
    if edge_index.layout == torch.sparse_csr:
        indptr, src = edge_index.crow_indices(), edge_index.col_indices()
    else:
        src = edge_index[0].contiguous()
        indptr = _as_indptr(edge_index[1].contiguous(), num_vertices[-1])
    adjacencies = []
    for hop in range(num_layers, 0, -1):
        rows = indptr[: num_vertices[hop - 1] + 1]
        adjacency = LayerAdjacency(rows, src[: int(rows[-1])], num_vertices[hop])
        # The first layer's input is features, which need no gradient.
        takes_features = hop == num_layers and not first_is_stored
        adjacencies.append(adjacency if takes_features else adjacency.with_transpose())
    return adjacencies


def whole_adjacency(adj_t: Tensor) -> LayerAdjacency:
    """The edges of a square sparse CSR `adj_t`, with all vertices on both sides."""
    return LayerAdjacency(
        adj_t.crow_indices(), adj_t.col_indices(), adj_t.shape[1]
    ).with_transpose()


def _as_indptr(dst: Tensor, num_dst: int) -> Tensor:
    if bool((dst[1:] < dst[:-1]).any()):
        raise DataError("edges must be sorted by destination, as DistNeighborLoader yields them")
    indptr = torch.zeros(num_dst + 1, dtype=torch.int64)
    torch.cumsum(torch.bincount(dst, minlength=num_dst), 0, out=indptr[1:])
    return indptr
