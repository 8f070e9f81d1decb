"""The graph attention network."""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional
from torch_geometric.nn import GATConv

from gnnflow.models.layer_adjacency import LayerAdjacency
from gnnflow.models.layered_model import LayeredModel

MAX_HEADS = 4


class GAT(LayeredModel):
    """GAT: each layer sums in-neighbours' rows by learnt weights, with a self loop per vertex.

    Hidden layers have up to four heads side by side, as many as divide their width; the last
    layer has one.

    Source: Velickovic et al., "Graph Attention Networks", 2018.
    """

    aggregates = False

    def __init__(self, dims: Sequence[int], dropout: float = 0.0) -> None:
        """Makes a layer between each two consecutive widths.

        Args:
            dims: width of the features, of each hidden layer and of the output.
            dropout: share of hidden activations dropped while training.
        """
        heads = [math.gcd(dim, MAX_HEADS) for dim in dims[1:-1]] + [1]
        shapes = zip(dims[:-1], dims[1:], heads, strict=True)
        super().__init__(
            [GATConv(dim_in, dim_out // num, heads=num) for dim_in, dim_out, num in shapes],
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
        """Computes attention over the in-neighbours and the vertex itself."""
        conv: Any = self.convs[index]
        out: Tensor = conv(x, edge_index)
        return out

    def activate(self, x: Tensor) -> Tensor:
        """The exponential linear unit, as in the paper."""
        return functional.elu(x)
