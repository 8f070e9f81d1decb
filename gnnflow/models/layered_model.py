"""What gnnflow's networks share: a stack of layers, trained on samples and evaluated exactly."""

import contextlib
import linecache
import os
import sys
import tempfile
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from gnnflow.errors import ConfigError
from gnnflow.first_hop import FirstHop
from gnnflow.models.aggregation import runs_on_kernels
from gnnflow.models.layer_adjacency import (
    LayerAdjacency,
    layer_adjacencies,
    whole_adjacency,
)


def remove_generated_files() -> None:
    """Removes the source files of PyG's generated modules, which have been loaded from them.

    PyG writes one for each kind of layer and process and never removes it. What they say stays
    known to tracebacks and to TorchScript, which read it through `linecache`.
    """
    folder = tempfile.gettempdir()
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None) or ""
        generated = os.path.join(folder, f"{name}_")
        if not (name.startswith("torch_geometric.") and path.startswith(generated)):
            continue
        lines = linecache.getlines(path)
        if not lines:
            continue
        # Without a time of change an entry is never looked for on the disk again.
        linecache.cache[path] = (sum(map(len, lines)), None, lines, path)
        for left in (path, getattr(module, "__cached__", None)):
            with contextlib.suppress(OSError, TypeError):
                os.unlink(left)  # type: ignore[arg-type]


class LayeredModel(nn.Module):
    """A stack of graph convolutions that runs on minibatches, whole graphs and layer by layer.

    `forward` takes what a PyG model takes. `layer` computes one layer for any set of destination
    vertices; exact evaluation over all neighbours calls it, and any model of a user that has
    `num_layers` and `layer` is evaluated in the same way.
    """

    uses_in_degree = False
    """Whether `forward` and `layer` want the vertices' in-degrees in the whole graph."""

    uses_edge_attr = False
    """Whether `forward` and `layer` want the attributes of the edges."""

    first_hop: FirstHop | None = None
    """What `forward` can take of a stored first hop; None if its first layer needs the edges."""

    aggregates = True
    """Whether layers take sums or means that gnnflow's kernels compute."""

    def __init__(self, convs: Sequence[nn.Module], dropout: float) -> None:
        """Takes the convolutions, first layer first, and the dropout of hidden activations."""
        super().__init__()
        self.options: Mapping[str, Any] | None = None
        """What `make_model` made this model from, so that it can be made again."""
        self.convs = nn.ModuleList(convs)
        remove_generated_files()
        self.dropout = nn.Dropout(dropout)

    @property
    def num_layers(self) -> int:
        """Number of layers."""
        return len(self.convs)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor | Sequence[LayerAdjacency],
        num_sampled_nodes_per_hop: Sequence[int] | None = None,
        num_sampled_edges_per_hop: Sequence[int] | None = None,
        in_degree: Tensor | None = None,
        edge_attr: Tensor | None = None,
        x_first: Tensor | None = None,
    ) -> Tensor:
        """Computes all layers.

        Args:
            x: `[num_vertices, num_features]` features.
            edge_index: `[2, num_edges]` int64 (sources, destinations), a square sparse CSR
                `adj_t`, or the adjacencies of the layers, first layer first, as
                `layer_adjacencies` makes them.
            num_sampled_nodes_per_hop: `num_sampled_nodes` of the minibatch; with it, each layer
                computes no vertex that the seeds do not need (as `trim_to_layer` does).
            num_sampled_edges_per_hop: `num_sampled_edges` of the minibatch.
            in_degree: `[num_vertices]` in-degrees in the whole graph, self loops left out, for
                models that use them.
            edge_attr: `[num_edges, ...]` attributes in the order of `edge_index`, for models that
                use them.
            x_first: `[num_vertices, num_features]` what a stored first hop has of each vertex, for
                models with `first_hop`: the edges are those of all other layers. For `gcn` it is
                all that the first layer takes, and `x` is not looked at.

        Returns:
            `[num_seeds, dim]` where the layers are trimmed, else `[num_vertices, dim]`.
        """
        first = 0
        if x_first is not None:
            x = self._finish(0, self.combine_first(x, x_first))
            first = 1
        num_layers = self.num_layers - first
        adjacencies: Sequence[Tensor | LayerAdjacency]
        if not isinstance(edge_index, Tensor):
            adjacencies = edge_index
        elif edge_index.layout == torch.sparse_csr and runs_on_kernels(x):
            if num_sampled_nodes_per_hop is None:
                adjacencies = [whole_adjacency(edge_index)] * num_layers
            else:
                adjacencies = layer_adjacencies(edge_index, num_sampled_nodes_per_hop, num_layers)
        else:
            adjacencies = [_as_edge_index(edge_index)] * num_layers
        num_dst = [len(x)] * num_layers
        if num_sampled_nodes_per_hop is not None and num_sampled_edges_per_hop is not None:
            num_dst = list(accumulate(num_sampled_nodes_per_hop))[:num_layers][::-1]
            num_edges = list(accumulate(num_sampled_edges_per_hop))[:num_layers][::-1]
            adjacencies = [
                edges[:, :count] if isinstance(edges, Tensor) else edges
                for edges, count in zip(adjacencies, num_edges, strict=True)
            ]
        for index, (count, adjacency) in enumerate(
            zip(num_dst, adjacencies, strict=True), start=first
        ):
            if isinstance(adjacency, LayerAdjacency):
                count = adjacency.num_dst
            degree = None if in_degree is None else in_degree[: len(x)]
            attributes = None
            if edge_attr is not None:
                # The edges of the first hops come first.
                attributes = edge_attr[: _num_edges(adjacency)]
            x = self.layer(index, (x, x[:count]), adjacency, degree, attributes)
        return x

    def layer(
        self,
        index: int,
        x: tuple[Tensor, Tensor],
        edge_index: Tensor | LayerAdjacency,
        in_degree: Tensor | None = None,
        edge_attr: Tensor | None = None,
    ) -> Tensor:
        """Computes one layer, its activation and dropout included.

        Args:
            index: number of the layer, from 0.
            x: rows of the sources `[num_src, dim]` and of the destinations `[num_dst, dim]`; the
                first `num_dst` sources are the destinations.
            edge_index: `[2, num_edges]` positions of source and destination, or the adjacency.
            in_degree: `[num_src]` in-degrees in the whole graph, for models that use them.
            edge_attr: `[num_edges, ...]` attributes of the edges, for models that use them.

        Returns:
            `[num_dst, dim]`.
        """
        on_kernels = self.aggregates and runs_on_kernels(x[0])
        if isinstance(edge_index, LayerAdjacency) and not on_kernels:
            edge_index = edge_index.edge_index()
        return self._finish(index, self.convolve(index, x, edge_index, in_degree, edge_attr))

    def _finish(self, index: int, out: Tensor) -> Tensor:
        """Activation and dropout after a layer."""
        if index == self.num_layers - 1:
            return out
        activated: Tensor = self.dropout(self.activate(out))
        return activated

    @abstractmethod
    def convolve(
        self,
        index: int,
        x: tuple[Tensor, Tensor],
        edge_index: Tensor | LayerAdjacency,
        in_degree: Tensor | None,
        edge_attr: Tensor | None = None,
    ) -> Tensor:
        """Computes the convolution of one layer; arguments and result as for `layer`.

        An adjacency is given where kernels compute sums and means, otherwise the edges for PyG.
        """

    def combine_first(self, x: Tensor, x_first: Tensor) -> Tensor:
        """Computes the first convolution from what a stored first hop has.

        Args:
            x: `[num_vertices, num_features]` features; not looked at if `first_hop` is `gcn`.
            x_first: `[num_vertices, num_features]` the aggregates of the kind `first_hop`.

        Returns:
            `[num_vertices, dim]`.

        Raises:
            ConfigError: if the first layer is of another kind.
        """
        raise ConfigError(
            f"{type(self).__name__} needs the edges of its first hop; leave out first_hop"
        )

    def activate(self, x: Tensor) -> Tensor:
        """The activation after each hidden layer; may overwrite its argument."""
        return x.relu_()


def _num_edges(adjacency: Tensor | LayerAdjacency) -> int:
    return adjacency.shape[1] if isinstance(adjacency, Tensor) else len(adjacency.src)


def _as_edge_index(edge_index: Tensor) -> Tensor:
    if edge_index.layout != torch.sparse_csr:
        return edge_index
    indptr = edge_index.crow_indices()
    destinations = torch.arange(len(indptr) - 1, device=indptr.device)
    return torch.stack([edge_index.col_indices(), destinations.repeat_interleave(indptr.diff())])
