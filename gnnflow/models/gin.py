"""The graph isomorphism network."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch_geometric.nn import GINConv

from gnnflow.models.aggregation import aggregate
from gnnflow.models.layer_adjacency import LayerAdjacency
from gnnflow.models.layered_model import LayeredModel


def isomorphism_mlp(dim_in: int, dim_hidden: int, dim_out: int) -> nn.Sequential:
    """The two matrices that a sum over neighbours goes through."""
    return nn.Sequential(
        nn.Linear(dim_in, dim_hidden),
        nn.LayerNorm(dim_hidden),
        nn.ReLU(),
        nn.Linear(dim_hidden, dim_out),
    )


class GIN(LayeredModel):
    """GIN: each layer sends the sum of a vertex's row and its in-neighbours' through two matrices.

    Layer normalisation tames the sums of vertices with many neighbours. (Batch normalisation would
    tie a row's result to the other rows of the minibatch, and could not take an empty one.)

    Source: Xu, Hu, Leskovec, Jegelka, "How Powerful are Graph Neural Networks?", 2019.
    """

    first_hop = "sum"

    def __init__(self, dims: Sequence[int], dropout: float = 0.0) -> None:
        """Makes a layer between each two consecutive widths.

        Args:
            dims: width of the features, of each hidden layer and of the output.
            dropout: share of hidden activations dropped while training.
        """
        hidden = [*dims[1:-1], dims[-2] if len(dims) > 2 else dims[0]]
        widths = zip(dims[:-1], hidden, dims[1:], strict=True)
        super().__init__(
            [GINConv(isomorphism_mlp(*of_layer), train_eps=True) for of_layer in widths],
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
        """Computes `mlp((1 + eps) destination + sum of sources)`."""
        conv: Any = self.convs[index]
        if isinstance(edge_index, LayerAdjacency):
            total = aggregate(x[0], edge_index, reduce="sum")
            mixed: Tensor = conv.nn(total + (1 + conv.eps) * x[1])
            return mixed
        out: Tensor = conv(x, edge_index)
        return out

    def combine_first(self, x: Tensor, x_first: Tensor) -> Tensor:
        """Computes `mlp((1 + eps) own row + stored sum)`."""
        conv: Any = self.convs[0]
        out: Tensor = conv.nn(x_first + (1 + conv.eps) * x)
        return out
