"""GraphSAGE with mean aggregation."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn import SAGEConv

from gnnflow.models.aggregation import sage_layer
from gnnflow.models.layer_adjacency import LayerAdjacency
from gnnflow.models.layered_model import LayeredModel


class SAGE(LayeredModel):
    """GraphSAGE: each layer joins a vertex's row with the mean of its in-neighbours' rows.

    Source: Hamilton, Ying, Leskovec, "Inductive Representation Learning on Large Graphs", 2017.
    """

    first_hop = "mean"

    def __init__(self, dims: Sequence[int], dropout: float = 0.0) -> None:
        """Makes a layer between each two consecutive widths.

        Args:
            dims: width of the features, of each hidden layer and of the output.
            dropout: share of hidden activations dropped while training.
        """
        widths = zip(dims[:-1], dims[1:], strict=True)
        super().__init__([SAGEConv(dim_in, dim_out) for dim_in, dim_out in widths], dropout)

    def convolve(
        self,
        index: int,
        x: tuple[Tensor, Tensor],
        edge_index: Tensor | LayerAdjacency,
        in_degree: Tensor | None,
        edge_attr: Tensor | None = None,
    ) -> Tensor:
        """Computes `lin_l(mean of sources) + lin_r(destination)`."""
        conv: Any = self.convs[index]
        if isinstance(edge_index, LayerAdjacency):
            return sage_layer(
                x[0], edge_index, conv.lin_l.weight, conv.lin_l.bias, conv.lin_r.weight
            )
        out: Tensor = conv(x, edge_index)
        return out

    def combine_first(self, x: Tensor, x_first: Tensor) -> Tensor:
        """Computes `lin_l(stored mean) + lin_r(own row)`."""
        conv: Any = self.convs[0]
        # In one pass over the rows of the result, which are many.
        return torch.addmm(conv.lin_l(x_first), x, conv.lin_r.weight.T)
