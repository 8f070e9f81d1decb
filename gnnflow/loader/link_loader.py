"""DistLinkNeighborLoader: minibatches of edges to tell from pairs that are none."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import torch
from numpy.typing import ArrayLike
from torch_geometric.sampler import NegativeSampling

from gnnflow.config import DEFAULT_CACHE, CacheConfig, PolicyConfig
from gnnflow.graph import DistGraph
from gnnflow.loader.arguments import (
    Fanout,
    as_labels,
    as_negatives,
    as_whole_number,
    check_graph,
)
from gnnflow.loader.edge_list import GivenEdges, edges_of_split
from gnnflow.loader.link_schedule import LinkSchedule
from gnnflow.loader.minibatch_maker import Transform
from gnnflow.loader.neighbor_loader import DEFAULT_FANOUT, DistNeighborLoader
from gnnflow.loader.pyg_names import PygNames, take_pyg_names
from gnnflow.policies import ReplacementPolicy


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
        fanout: Fanout = DEFAULT_FANOUT,
        batch_size: int = 512,
        *,
        edge_label: ArrayLike | None = None,
        neg_sampling: NegativeSampling | str | Mapping[str, Any] | None = None,
        neg_sampling_ratio: float | None = None,
        exclude_targets: bool = False,
        shuffle: bool = True,
        seed: int = 0,
        replace: bool = False,
        arrays: str | Sequence[str] = ("x",),
        edge_ids: bool = False,
        edge_attr: bool = False,
        adj_t: bool = False,
        transform: Transform | None = None,
        pin_memory: bool = False,
        device: torch.device | str | int | None = None,
        cache: CacheConfig | None = DEFAULT_CACHE,
        num_epochs: int = 1,
        policy: str | PolicyConfig | ReplacementPolicy = "static",
        policy_options: PolicyConfig | None = None,
        run_dir: Path | str | None = None,
        **pyg_names: Unpack[PygNames],
    ) -> None:
        """Prepares the loader; every rank must do this.

        Args:
            graph: the graph of this rank.
            edge_label_index: `train` or None for the edges of the graph, `val` or `test` for those
                held out (each rank takes the edges whose destinations it owns), or this rank's
                edges as `[2, num_edges]` global ids.
            fanout: neighbours kept per hop, as for `DistNeighborLoader`.
            batch_size: edges of one rank in one minibatch, on average.
            edge_label: `[num_edges, ...]` labels of this rank's edges. With `binary` negatives
                these are 0, and labels whose smallest, over all ranks, is 0 are raised by 1.
            neg_sampling: `binary` draws pairs, `triplet` draws a further destination for each edge,
                or a `torch_geometric.sampler.NegativeSampling` with another amount than 1.
            neg_sampling_ratio: short for `NegativeSampling("binary", ratio)`.
            exclude_targets: let no messages flow along the edges that a minibatch asks about, nor
                along their reverses, so that a model cannot see the answer.
            shuffle: a new order each epoch.
            seed: seed of order, negatives and sampling; the same on all ranks.
            replace: whether a neighbour may be drawn several times.
            arrays: per-vertex arrays fetched for all vertices.
            edge_ids: hand over `e_id` `[num_edges]`, the edges' numbers in the input.
            edge_attr: hand over `edge_attr` `[num_edges, ...]`, the attributes of the edges.
            adj_t: hand over `adj_t`, the edges as a sparse CSR tensor.
            transform: called with every batch before it is yielded.
            pin_memory: gather features into page-locked memory, as for `DistNeighborLoader`.
            device: where features are put together, likewise.
            cache: options of halo cache and prefetching, as for `DistNeighborLoader`.
            num_epochs: epochs that will be taken, as for `DistNeighborLoader`.
            policy: who decides when rows of the halo cache are replaced, likewise.
            policy_options: how that policy is asked, likewise.
            run_dir: folder where the policy writes its decisions, if any.
            **pyg_names: PyG's parameters that have another name here, or no meaning.

        Raises:
            ConfigError: if an option is out of range.
            DataError: if edges are not of the graph, or there are no such edges or arrays.
        """
        check_graph(graph)
        own = inspect.signature(DistLinkNeighborLoader).parameters
        [fanout] = take_pyg_names(
            pyg_names, graph.ctx, own, num_neighbors=("fanout", fanout, DEFAULT_FANOUT)
        )
        seed = as_whole_number("seed", seed)
        if edge_label_index is None:
            edge_label_index = "train"
        if isinstance(edge_label_index, str):
            edges = edges_of_split(graph, edge_label_index)
        else:
            edges = GivenEdges(edge_label_index, graph.num_vertices)
        schedule = LinkSchedule(
            graph,
            edges,
            None if edge_label is None else as_labels(edge_label),
            as_negatives(neg_sampling, neg_sampling_ratio),
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            exclude_targets=exclude_targets,
        )
        super().__init__(
            graph,
            schedule,
            fanout,
            seed=seed,
            replace=replace,
            arrays=arrays,
            edge_ids=edge_ids,
            edge_attr=edge_attr,
            adj_t=adj_t,
            transform=transform,
            pin_memory=pin_memory,
            device=device,
            cache=cache,
            num_epochs=num_epochs,
            policy=policy,
            policy_options=policy_options,
            run_dir=run_dir,
        )
