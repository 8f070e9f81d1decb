"""DistLinkNeighborLoader: minibatches of edges to tell from pairs that are none."""

import inspect
from collections.abc import Mapping
from typing import Any, Unpack

from numpy.typing import ArrayLike
from torch_geometric.sampler import NegativeSampling

from gnnflow.errors import ConfigError
from gnnflow.graph import DistGraph
from gnnflow.loader.arguments import Fanout, as_labels, as_negatives, check_graph
from gnnflow.loader.edge_list import GivenEdges, edges_of_split
from gnnflow.loader.link_schedule import LinkSchedule
from gnnflow.loader.loader_options import (
    LoaderKeywords,
    LoaderOptions,
    chosen_options,
    signature_with_options,
)
from gnnflow.loader.neighbor_loader import DistNeighborLoader
from gnnflow.loader.pyg_names import take_pyg_names


class DistLinkNeighborLoader(DistNeighborLoader):
    """Yields minibatches around edges, the same number of them on every rank.

    It is used as PyG's `LinkNeighborLoader`. A batch is what `DistNeighborLoader` yields, whose
    seeds are the ends of the edges and of their negatives, without `y`, and with

    - `input_id` `[num_edges_asked]` int64: positions of the edges in this rank's list,
    - `edge_label_index` `[2, num_edges_asked + num_negatives]`: positions of the ends in `n_id`,
    - `edge_label`: 1 for edges and 0 for negatives, or the labels given; with negatives those are
      raised by 1 if the smallest is 0, as by PyG,
    - with negatives of the mode `triplet` instead of the two, `src_index`, `dst_pos_index`
      `[num_edges_asked]` and `dst_neg_index` `[num_edges_asked]` or `[num_edges_asked, amount]`,
    - `batch_size`: number of seed vertices,
    - `loss_weight`: this rank's share of the labels (or triplets) that all ranks have in this step;
      `wrap` weights the gradient of a mean loss with it.

    Negatives are drawn uniformly from all vertices by a function of seed, epoch and minibatch that
    the partitioning does not enter; they may happen to be edges, as in PyG.
    """

    def __init__(
        self,
        graph: DistGraph,
        edge_label_index: str | ArrayLike | None = "train",
        fanout: Fanout | None = None,
        batch_size: int | None = None,
        *,
        edge_label: ArrayLike | None = None,
        neg_sampling: NegativeSampling | str | Mapping[str, Any] | None = None,
        neg_sampling_ratio: float | None = None,
        exclude_targets: bool = False,
        options: LoaderOptions | None = None,
        **named: Unpack[LoaderKeywords],
    ) -> None:
        """Prepares the loader; every rank must do this.

        Args:
            graph: the graph of this rank.
            edge_label_index: `train` or None for the edges of the graph, `val` or `test` for those
                held out (each rank takes the edges whose destinations it owns), or this rank's
                edges as `[2, num_edges]` global ids.
            fanout: neighbours kept per hop, as for `DistNeighborLoader`.
            batch_size: edges of one rank in one minibatch, on average; 512 by default.
            edge_label: `[num_edges, ...]` labels of this rank's edges. With `binary` negatives
                these are 0, and labels whose smallest, over all ranks, is 0 are raised by 1.
            neg_sampling: `binary` draws pairs, `triplet` draws a further destination for each edge,
                or a `torch_geometric.sampler.NegativeSampling` with another amount than 1.
            neg_sampling_ratio: short for `NegativeSampling("binary", ratio)`.
            exclude_targets: let no messages flow along the edges that a minibatch asks about, nor
                along their reverses, so that a model cannot see the answer.
            options: all options at once, as for `DistNeighborLoader`.
            **named: options by name, likewise.

        Raises:
            ConfigError: if an option is out of range.
            DataError: if edges are not of the graph, or there are no such edges or arrays.
        """
        check_graph(graph)
        [fanout] = take_pyg_names(
            named,
            graph.ctx,
            inspect.signature(DistLinkNeighborLoader).parameters,
            num_neighbors=("fanout", fanout, None),
        )
        options = chosen_options(options, named, fanout=fanout, batch_size=batch_size)
        if edge_label_index is None:
            edge_label_index = "train"
        if isinstance(edge_label_index, str):
            edges = edges_of_split(graph, edge_label_index)
        else:
            edges = GivenEdges(edge_label_index, graph.num_vertices)
        if exclude_targets and options.first_hop is not None:
            raise ConfigError(
                f"first_hop='{options.first_hop}' is made of all edges, those that are asked about "
                "too; leave out exclude_targets or first_hop"
            )
        schedule = LinkSchedule(
            graph,
            edges,
            None if edge_label is None else as_labels(edge_label),
            as_negatives(neg_sampling, neg_sampling_ratio),
            batch_size=options.batch_size,
            shuffle=options.shuffle,
            seed=options.seed,
            exclude_targets=exclude_targets,
        )
        super().__init__(graph, schedule, options=options)


DistLinkNeighborLoader.__signature__ = signature_with_options(DistLinkNeighborLoader.__init__)  # type: ignore[attr-defined]
