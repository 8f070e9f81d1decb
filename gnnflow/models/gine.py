"""The graph isomorphism network with edge attributes."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch_geometric.nn import GINEConv

from gnnflow.models.gin import isomorphism_mlp
from gnnflow.models.layer_adjacency import LayerAdjacency
from gnnflow.models.layered_model import LayeredModel


class GINE(LayeredModel):
    """GINE: as GIN, and each in-neighbour's row meets the edge's attributes before it is added.

    A layer computes `mlp((1 + eps) destination + sum of relu(source + lin(attributes)))`.

    Source: Hu et al., "Strategies for Pre-training Graph Neural Networks", 2020.
    """

    aggregates = False
    uses_edge_attr = True

    def __init__(self, dims: Sequence[int], dropout: float, num_edge_features: int) -> None:
        """Makes a layer between each two consecutive widths.

        Args:
            dims: width of the features, of each hidden layer and of the output.
            dropout: share of hidden activations dropped while training.
            num_edge_features: numbers in the attributes of an edge.
        """
        hidden = [*dims[1:-1], dims[-2] if len(dims) > 2 else dims[0]]
        widths = zip(dims[:-1], hidden, dims[1:], strict=True)
        super().__init__(
            [
                GINEConv(isomorphism_mlp(*of_layer), train_eps=True, edge_dim=num_edge_features)
                for of_layer in widths
            ],
            dropout,
        )

    def convolve(
        self,
        index: int,
        x: tuple[Tensor, Tensor],
        edge_index: Tensor | LayerAdjacency,
        in_degree: Tensor | None,
        edge_attr: Tensor | None = None,
    ) -> Tensor:
        """Computes the layer from the rows of vertices and of edges."""
        if edge_attr is None:
            raise TypeError("GINE needs edge_attr, one row for each edge of edge_index")
        conv: Any = self.convs[index]
        out: Tensor = conv(x, edge_index, edge_attr[:, None].flatten(1))
        return out
