"""Which edges each step of an epoch asks about, with their negatives, as a pure function."""

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.sampler import NegativeSampling

from gnnflow.array_types import Ids
from gnnflow.datasets.counter_hash import stream_key, uniform
from gnnflow.errors import ConfigError, DataError
from gnnflow.graph import DistGraph
from gnnflow.loader.edge_list import EdgeList
from gnnflow.loader.seed_schedule import SeedBatch, SeedSchedule
from gnnflow.sampling import SampledSubgraph

_EDGES_AT_ONCE = 1 << 20


def negative_vertices(key: int, num: int, num_vertices: int, first: int = 0) -> Ids:
    """Draws original ids uniformly: numbers `first` to `first + num` of the stream of a key."""
    draws = uniform(key, np.arange(first, first + num, dtype=np.int64))
    ids: Ids = (draws * num_vertices).astype(np.int64)
    return ids


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkBatch(SeedBatch):
    """The edges of one rank in one step; the seeds are their ends."""

    share: float
    """This rank's share of the labels that all ranks have in this step."""
    num_positive: int
    """Edges, not counting negatives."""
    positive: Ids
    """`[2, num_positive]`: positions of the edges' ends among the seeds."""
    labels: dict[str, Tensor]
    """What the minibatch says about its edges, by the names that PyG uses."""
    exclude_targets: bool
    """Whether messages may not flow along the edges that are asked about."""

    @property
    def weight(self) -> float:
        """This rank's share of the step's labels, which its mean loss and gradient count with."""
        return self.share

    def attributes(self) -> dict[str, Any]:
        """What the minibatch holds besides vertices and edges."""
        return dict(self.labels)

    def prepare(self, subgraph: SampledSubgraph) -> SampledSubgraph:
        """Takes the edges that are asked about, and their reverses, out of the subgraph."""
        if not self.exclude_targets:
            return subgraph
        num_seeds = subgraph.num_seeds
        targets = np.concatenate([self.positive, self.positive[::-1]], axis=1)
        dst = np.repeat(np.arange(subgraph.num_expanded), np.diff(subgraph.indptr))
        between_seeds = (subgraph.src < num_seeds) & (dst < num_seeds)
        pairs = subgraph.src * num_seeds + dst
        asked = np.isin(pairs, targets[0] * num_seeds + targets[1])
        return subgraph.without(between_seeds & asked)


class LinkSchedule:
    """Splits the edges of a rank over the steps of an epoch and draws negatives for them.

    Negatives are vertices of the whole graph, drawn uniformly by original id. Which ones is a
    function of seed, epoch and the job-wide number of the minibatch, whatever the partitioning;
    as in PyG, a negative may happen to be an edge.
    """

    def __init__(
        self,
        graph: DistGraph,
        edges: EdgeList,
        labels: Tensor | None,
        negatives: NegativeSampling | None,
        *,
        batch_size: int,
        shuffle: bool,
        seed: int,
        exclude_targets: bool,
    ) -> None:
        """Splits the edges; every rank must do this.

        Args:
            graph: the graph of this rank.
            edges: edges of this rank.
            labels: `[num_edges, ...]` of them, or None.
            negatives: how negatives are drawn, or None for none.
            batch_size: edges of one rank in one step, on average over the ranks.
            shuffle: a new order each epoch.
            seed: seed of the order and of the negatives.
            exclude_targets: whether messages may not flow along the edges that are asked about.

        Raises:
            ConfigError: if negatives are to be drawn in a way that is not known.
            DataError: if labels and edges do not fit.
        """
        if negatives is not None and (negatives.src_weight, negatives.dst_weight) != (None, None):
            raise ConfigError("neg_sampling draws uniformly here; leave out src_weight, dst_weight")
        if labels is not None and labels.shape[:1] != (len(edges),):
            raise DataError(
                f"edge_label must have one entry per edge: expected {len(edges)}, got "
                f"{len(labels) if labels.ndim else 'a number'}"
            )
        if labels is not None and negatives is not None and negatives.is_triplet():
            raise ConfigError("edge_label goes with neg_sampling 'binary' or none, not 'triplet'")
        self._positions = SeedSchedule.split_evenly(
            np.arange(len(edges), dtype=np.int64),
            graph.ctx,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
        )
        self._graph = graph
        self._edges = edges
        self._negatives = negatives
        self._seed = seed
        self._exclude_targets = exclude_targets
        self._labels = self._with_room_for_negatives(labels)
        own = [self._num_labels(self._positions.size(step)) for step in range(self.num_steps)]
        self._num_own_labels = np.array(own, dtype=np.int64)
        gathered = graph.ctx.allgather_array(self._num_own_labels)
        self._num_job_labels = np.stack(gathered).sum(axis=0)
        if negatives is not None:
            graph.to_global(np.empty(0, dtype=np.int64))  # all ranks make the first call together

    @property
    def num_steps(self) -> int:
        """Steps of an epoch, the same on all ranks."""
        return self._positions.num_steps

    @property
    def seeds(self) -> Ids:
        """Vertices that may be seeds, as far as this rank owns them: all of its own."""
        low, high = self._graph.book.range(self._graph.ctx.rank)
        return np.arange(low, high, dtype=np.int64)

    @property
    def digest(self) -> str:
        """Equal for schedules that ask about the same edges in every step, in hex."""
        negatives = self._negatives
        drawn = None if negatives is None else [negatives.mode.value, negatives.amount]
        about = hashlib.sha256(repr([self._positions.digest, drawn, self._seed]).encode())
        for start in range(0, len(self._edges), _EDGES_AT_ONCE):
            stop = min(start + _EDGES_AT_ONCE, len(self._edges))
            about.update(self._edges.ends(np.arange(start, stop, dtype=np.int64)).tobytes())
        return about.hexdigest()

    def weight(self, step: int) -> float:
        """This rank's share of a step's labels, the same in every epoch."""
        total = int(self._num_job_labels[step])
        return int(self._num_own_labels[step]) / total if total else 0.0

    def batch(self, epoch: int, step: int) -> LinkBatch:
        """The edges of one step with their negatives.

        Args:
            epoch: number of the epoch, from 0.
            step: number of the step within the epoch.

        Raises:
            IndexError: if the epoch has no such step.
        """
        chosen = self._positions.batch(epoch, step)
        src, dst = self._edges.ends(chosen.seeds)
        num = len(src)
        negative = self._draw(epoch, chosen.minibatch, num)
        if self._negatives is not None and self._negatives.is_triplet():
            ends = np.concatenate([src, dst, negative])
            seeds, at = _distinct(ends)
            where = torch.from_numpy(at)
            amount = int(self._negatives.amount)
            wrong = where[2 * num :]
            labels = {
                "src_index": where[:num],
                "dst_pos_index": where[num : 2 * num],
                "dst_neg_index": wrong if amount == 1 else wrong.reshape(num, amount),
            }
            positive = at[: 2 * num].reshape(2, num)
        else:
            num_negative = len(negative) // 2
            ends = np.concatenate([src, negative[:num_negative], dst, negative[num_negative:]])
            seeds, at = _distinct(ends)
            pairs = at.reshape(2, num + num_negative)
            labels = {"edge_label_index": torch.from_numpy(pairs)}
            if self._labels is not None:
                of_edges = self._labels[torch.from_numpy(chosen.input_id)]
                of_others = of_edges.new_zeros((num_negative, *of_edges.shape[1:]))
                labels["edge_label"] = torch.cat([of_edges, of_others])
            positive = pairs[:, :num]
        return LinkBatch(
            epoch=epoch,
            step=step,
            minibatch=chosen.minibatch,
            seeds=seeds,
            input_id=chosen.input_id,
            num_job_seeds=chosen.num_job_seeds,
            share=self.weight(step),
            num_positive=num,
            positive=positive,
            labels=labels,
            exclude_targets=self._exclude_targets,
        )

    def _draw(self, epoch: int, minibatch: int, num_positive: int) -> Ids:
        """Global ids of negative destinations, or of sources and then destinations."""
        if self._negatives is None:
            return np.empty(0, dtype=np.int64)
        ends = 1 if self._negatives.is_triplet() else 2
        num = ends * _num_drawn(num_positive, self._negatives)
        key = stream_key(self._seed, f"negatives of epoch {epoch}, minibatch {minibatch}")
        return self._graph.to_global(negative_vertices(key, num, self._graph.num_vertices))

    def _num_labels(self, num_positive: int) -> int:
        if self._negatives is None or self._negatives.is_triplet():
            return num_positive
        return num_positive + _num_drawn(num_positive, self._negatives)

    def _with_room_for_negatives(self, labels: Tensor | None) -> Tensor | None:
        """Labels as PyG has them: with negatives, 0 is theirs and the others start at 1."""
        if self._negatives is None or self._negatives.is_triplet():
            return labels
        if labels is None:
            return torch.ones(len(self._edges))
        # The smallest is 0, exactly: as PyG asks. A smallest NaN is none.
        is_zero, is_below = labels == 0, ~(labels >= 0)
        mine = np.array([bool(is_zero.any()), bool(is_below.any())], dtype=np.int64)
        zero, below = self._graph.ctx.allreduce_sum(mine)
        return labels + 1 if zero and not below else labels


def _num_drawn(num_positive: int, negatives: NegativeSampling) -> int:
    """Negatives for some edges, rounded up as PyG does."""
    return math.ceil(num_positive * float(negatives.amount))


def _distinct(ids: Ids) -> tuple[Ids, Ids]:
    """Distinct ids in order of first appearance, and the position of each id among them."""
    distinct, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    order = np.argsort(first)
    position = np.empty(len(order), dtype=np.int64)
    position[order] = np.arange(len(order))
    return distinct[order], position[inverse]
