"""How well a model tells edges from pairs that are none, exactly and over all ranks."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from gnnflow.array_types import Ids
from gnnflow.config import CHUNK_BYTES
from gnnflow.datasets.counter_hash import random_bits, stream_key
from gnnflow.errors import ConfigError
from gnnflow.features import DistFeatureStore
from gnnflow.graph import DistGraph
from gnnflow.loader.arguments import as_whole_number
from gnnflow.loader.edge_list import EdgeList, GivenEdges, edges_of_split
from gnnflow.training.evaluation.minibatch_inference import evaluating, inference_of
from gnnflow.training.model_calls import AUTO

Scorer = Callable[[Tensor, Tensor], Tensor]


def dot_product(src: Tensor, dst: Tensor) -> Tensor:
    """Scores pairs of embeddings `[num_pairs, dim]` by their inner products, `[num_pairs]`."""
    return (src * dst).sum(dim=-1)


def evaluate_links(
    model: nn.Module,
    graph: DistGraph,
    edges: str | ArrayLike = "test",
    *,
    scorer: Scorer = dot_product,
    num_negatives: int = 100,
    hits_at: int | Sequence[int] = (1, 10, 50),
    seed: int = 0,
    num_hops: int | None = None,
    edge_argument: str | None = AUTO,
    chunk_bytes: int = CHUNK_BYTES,
) -> dict[str, float | None]:
    """Ranks each edge among pairs of its source with drawn destinations; all ranks call this.

    Embeddings of all vertices are computed over all neighbours: layer by layer, each vertex once,
    if the model has `num_layers` and `layer` (see `LayerwiseModel`), else from minibatches.
    The negatives of an edge are a function of the seed and of the original ids of its ends, so
    every run, on any number of ranks, ranks an edge against the same vertices. They are drawn
    uniformly and may happen to be neighbours. A tie counts half, as in the Open Graph Benchmark.

    Args:
        model: the model of embeddings, wrapped or not.
        graph: the graph of this rank.
        edges: `val` or `test` for edges held out, `train`, or this rank's edges as `[2, num_edges]`
            global ids.
        scorer: scores pairs of embeddings `[num_pairs, dim]`, `[num_pairs]`; higher is likelier.
        num_negatives: destinations that each edge is ranked against.
        hits_at: for each number k, `hits@k` is the share of edges among the best k.
        seed: seed of the negatives.
        num_hops: hops that a model without `layer` looks at, as for `evaluate`.
        edge_argument: the model's argument for the attributes of the edges, as for `evaluate`.
        chunk_bytes: about how much memory a chunk of vertices or edges may take.

    Returns:
        `mrr`, the mean of 1 / rank, and `hits@k`, over the edges of all ranks; None without edges.

    Raises:
        ConfigError: if `num_hops` is needed and missing, the model needs what is not there, or a
            number is out of range.
        DataError: if there are no such edges.
    """
    num_negatives, places = _checked_numbers(num_negatives, hits_at)
    if isinstance(edges, str):
        asked = edges_of_split(graph, edges)
    else:
        asked = GivenEdges(edges, graph.num_vertices)
    graph.to_global(np.empty(0, dtype=np.int64))  # all ranks make the first call together
    with evaluating(model, graph.ctx) as inner:
        inference = inference_of(
            inner, graph, num_hops=num_hops, edge_argument=edge_argument, chunk_bytes=chunk_bytes
        )
        with inference.served("embeddings of links") as store, torch.no_grad():
            ranker = _Ranker(graph, store, scorer, num_negatives, seed, inference.device)
            sums = ranker.add_up(asked, places, chunk_bytes)
    return _means(graph.ctx.allreduce_sum(sums), places)


def rank_of(positive: Tensor, negative: Tensor) -> Tensor:
    """The rank of each edge among its negatives, from 1; a tie counts half.

    Args:
        positive: `[num_edges]` scores of the edges.
        negative: `[num_edges, num_negatives]` scores of their negatives.

    Returns:
        float64 `[num_edges]`; a score that is not a number is as bad as a tie with all.
    """
    above = (negative > positive[:, None]).sum(dim=1)
    not_below = (~(negative < positive[:, None])).sum(dim=1)
    return 1 + 0.5 * (above + not_below).double()


def drawn_destinations(
    sources: Ids, destinations: Ids, num_negatives: int, num_vertices: int, seed: int
) -> Ids:
    """The destinations that edges are ranked against, `[num_edges, num_negatives]`.

    Args:
        sources: `[num_edges]` original ids.
        destinations: `[num_edges]` original ids.
        num_negatives: how many for each edge.
        num_vertices: vertices of the graph.
        seed: seed of the draw.
    """
    of_source = random_bits(stream_key(seed, "ranked against: source"), sources)
    of_edge = random_bits(
        stream_key(seed, "ranked against: edge"), of_source ^ destinations.astype(np.uint64)
    )
    numbers = of_edge[:, None] + np.arange(num_negatives, dtype=np.uint64)
    bits = random_bits(stream_key(seed, "ranked against"), numbers)
    ids: Ids = ((bits >> np.uint64(11)).astype(np.float64) * 2.0**-53 * num_vertices).astype(
        np.int64
    )
    return ids


def _checked_numbers(num_negatives: int, hits_at: int | Sequence[int]) -> tuple[int, list[int]]:
    num_negatives = as_whole_number("num_negatives", num_negatives)
    given = hits_at if isinstance(hits_at, Iterable) else [hits_at]
    places = [as_whole_number("hits_at", k) for k in given]
    if num_negatives < 1 or not all(1 <= k <= num_negatives for k in places):
        raise ConfigError(
            f"num_negatives must be at least 1 and hits_at in [1, num_negatives], got "
            f"{num_negatives} and {places}"
        )
    return num_negatives, places


def _means(total: NDArray[np.float64], places: Sequence[int]) -> dict[str, float | None]:
    """The measures by name, from what `_Ranker.add_up` gives, over all ranks."""
    names = ["mrr", *(f"hits@{k}" for k in places)]
    if not total[0]:
        return dict.fromkeys(names)
    return {name: float(value / total[0]) for name, value in zip(names, total[1:], strict=True)}


class _Ranker:
    """Ranks the edges of a rank among their negatives, some at a time."""

    def __init__(
        self,
        graph: DistGraph,
        store: DistFeatureStore,
        scorer: Scorer,
        num_negatives: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self._graph = graph
        self._store = store
        self._scorer = scorer
        self._num_negatives = num_negatives
        self._seed = seed
        self._device = device

    def add_up(
        self, edges: EdgeList, hits_at: Sequence[int], chunk_bytes: int
    ) -> NDArray[np.float64]:
        """Number of edges, sum of 1 / rank, and number of hits at each k."""
        sums = np.zeros(2 + len(hits_at))
        dim = int(np.prod(self._store.row_shape))
        # A pair takes two rows, and as much again in the scorer.
        step = max(1, chunk_bytes // (4 * 4 * max(dim, 1) * (self._num_negatives + 1)))
        for start in range(0, len(edges), step):
            stop = min(start + step, len(edges))
            ranks = self._ranks(edges.ends(np.arange(start, stop, dtype=np.int64)))
            sums[0] += len(ranks)
            sums[1] += float(ranks.reciprocal().sum())
            sums[2:] += [int((ranks <= k).sum()) for k in hits_at]
        return sums

    def _ranks(self, ends: Ids) -> Tensor:
        original = self._graph.to_original(ends.reshape(-1)).reshape(2, -1)
        num_vertices = self._graph.num_vertices
        drawn = drawn_destinations(
            original[0], original[1], self._num_negatives, num_vertices, self._seed
        )
        candidates = np.concatenate([ends[1][:, None], self._graph.to_global(drawn)], axis=1)
        ids, at = np.unique(np.concatenate([ends[0], candidates.reshape(-1)]), return_inverse=True)
        rows = torch.from_numpy(self._store.fetch(ids)).to(self._device)
        where = torch.from_numpy(at).to(self._device)
        src = where[: len(candidates)].repeat_interleave(candidates.shape[1])
        scores = self._scorer(rows[src], rows[where[len(candidates) :]])
        scores = scores.reshape(candidates.shape).cpu()
        return rank_of(scores[:, 0], scores[:, 1:])
