"""The graph convolutional network."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn import GCNConv

from gnnflow.models.aggregation import aggregate
from gnnflow.models.layer_adjacency import LayerAdjacency
from gnnflow.models.layered_model import LayeredModel


class GCN(LayeredModel):
    """GCN: each layer sums rows weighted by `1 / sqrt(degree of source * degree of destination)`.

    Degrees are in-degrees plus one for the self loop that every vertex has. With `in_degree`, the
    degrees of the whole graph, the sum over sampled neighbours is scaled up to stand for all of
    them: its mean over samples is the sum over all neighbours, and with all neighbours the result
    equals that of the whole graph. Without it, degrees are those of the sample, as PyG has it.

    Source: Kipf, Welling, "Semi-Supervised Classification with Graph Convolutional Networks", 2017.
    """

    uses_in_degree = True
    first_hop = "gcn"

    def __init__(self, dims: Sequence[int], dropout: float = 0.0) -> None:
        """Makes a layer between each two consecutive widths.

        Args:
            dims: width of the features, of each hidden layer and of the output.
            dropout: share of hidden activations dropped while training.
        """
        widths = zip(dims[:-1], dims[1:], strict=True)
        convs = [GCNConv(dim_in, dim_out, normalize=False) for dim_in, dim_out in widths]
        super().__init__(convs, dropout)

    def convolve(
        self,
        index: int,
        x: tuple[Tensor, Tensor],
        edge_index: Tensor | LayerAdjacency,
        in_degree: Tensor | None,
        edge_attr: Tensor | None = None,
    ) -> Tensor:
        """Computes `lin(weighted sum of sources and destination) + bias`."""
        conv: Any = self.convs[index]
        x_src, x_dst = x
        num_src, num_dst = len(x_src), len(x_dst)
        if isinstance(edge_index, LayerAdjacency):
            src, dst = edge_index.src, edge_index.dst()
        else:
            src, dst = edge_index[0], edge_index[1]
        # A self loop of the graph is the one that every vertex has anyway: it adds nothing.
        sampled = torch.bincount(dst[src != dst], minlength=num_src)[:num_src].to(x_src.dtype)
        degree = sampled if in_degree is None else in_degree.to(x_src.dtype)
        weight = (degree + 1).rsqrt()
        share = weight[:num_dst] * degree[:num_dst] / sampled[:num_dst].clamp(min=1)
        if isinstance(edge_index, LayerAdjacency):
            loops = (edge_index.indptr.diff() - sampled[:num_dst]) * weight[:num_dst]
            total = aggregate(x_src * weight[:, None], edge_index, reduce="sum")
            total = total - x_dst * loops[:, None]
        else:
            edges = torch.stack([src, dst])
            edge_weight = torch.where(src == dst, 0, weight[src])
            total = conv.propagate(edges, x=x_src, edge_weight=edge_weight, size=(num_src, num_dst))
        mixed = total * share[:, None] + x_dst * weight[:num_dst, None].square()
        out: Tensor = conv.lin(mixed) + conv.bias
        return out

    def combine_first(self, x: Tensor, x_first: Tensor) -> Tensor:
        """Computes `lin(stored sum) + bias`; the sum holds the own row."""
        conv: Any = self.convs[0]
        out: Tensor = conv.lin(x_first) + conv.bias
        return out
