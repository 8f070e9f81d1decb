"""Scores of a model from all neighbours of every vertex, over all ranks."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gnnflow.errors import ConfigError
from gnnflow.graph import DistGraph
from gnnflow.loader import DistNeighborLoader
from gnnflow.models import LayeredModel
from gnnflow.training.buffers import sync_buffers
from gnnflow.training.gradients import unwrap
from gnnflow.training.layerwise import CHUNK_BYTES, LayerwiseInference, LayerwiseModel
from gnnflow.training.tasks import Scored, Task, task_of

SPLITS = ("train", "val", "test")
_SEEDS_AT_ONCE = 256


def evaluate(
    model: nn.Module,
    graph: DistGraph,
    splits: Sequence[str] = SPLITS,
    *,
    num_hops: int | None = None,
    chunk_bytes: int = CHUNK_BYTES,
    task: Task | None = None,
) -> dict[str, float | None]:
    """Scores a model on splits of the graph, exactly; every rank must call this.

    A model with `num_layers` and `layer` (see `LayerwiseModel`) is computed layer by layer, each
    vertex once. Any other model is called as `model(x, edge_index)` on minibatches that hold all
    neighbours of `num_hops` hops: as exact, but slow and large on graphs with hubs. A model with
    `uses_edge_attr = True` gets the attributes of the edges as a further argument `edge_attr`.

    Args:
        model: the model, wrapped or not.
        graph: the graph of this rank.
        splits: names of splits.
        num_hops: hops that the model looks at, needed for models without `layer`.
        chunk_bytes: about how much memory a chunk of vertices may take.
        task: what labels are; by default what they look like.

    Returns:
        The score of each split over all ranks (accuracy, micro-averaged F1 where a vertex has
        several labels, R2 where labels are numbers); None for a split without vertices.

    Raises:
        ConfigError: if `num_hops` is needed and missing.
        DataError: if the graph has no labels.
    """
    task = task_of(graph.manifest) if task is None else task
    every = evaluate_scores(
        model, graph, splits, task=task, num_hops=num_hops, chunk_bytes=chunk_bytes
    )
    return {split: scores[task.score_name] for split, scores in every.items()}


def evaluate_scores(
    model: nn.Module,
    graph: DistGraph,
    splits: Sequence[str] = SPLITS,
    *,
    task: Task,
    num_hops: int | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> dict[str, Scored]:
    """As `evaluate`, with all scores of a task by name for each split."""
    sync_buffers(model, graph.ctx)
    inner = unwrap(model)
    training = inner.training
    inner.eval()
    try:
        counts = _count(inner, graph, splits, task, num_hops, chunk_bytes)
    finally:
        inner.train(training)
    total = graph.ctx.allreduce_sum(counts)
    return {split: task.scores(row) for split, row in zip(splits, total, strict=True)}


def _count(
    model: nn.Module,
    graph: DistGraph,
    splits: Sequence[str],
    task: Task,
    num_hops: int | None,
    chunk_bytes: int,
) -> NDArray[np.float64]:
    """`[num_splits, num_counts]` counts of this rank; sums of whole numbers stay exact."""
    counts = np.zeros((len(splits), task.num_counts), dtype=np.float64)
    seeds = [graph.partition.splits.get(split, np.empty(0, np.int64)) for split in splits]
    wanted = np.unique(np.concatenate([np.empty(0, np.int64), *seeds]))
    if isinstance(model, LayeredModel | LayerwiseModel):
        outputs = LayerwiseInference(model, graph, chunk_bytes=chunk_bytes).outputs(wanted)
    elif num_hops is not None:
        outputs = _minibatch_outputs(model, graph, wanted, num_hops)
    else:
        raise ConfigError(
            f"{type(model).__name__} has no 'num_layers' and 'layer' to evaluate it by; "
            "give evaluate(..., num_hops=...) the number of hops it looks at"
        )
    for local_ids, logits in outputs:
        labels = torch.from_numpy(np.array(graph.partition.arrays["y"][local_ids]))
        for row, ids in zip(counts, seeds, strict=True):
            chosen = torch.from_numpy(np.isin(local_ids, ids, assume_unique=True))
            row += task.count(logits.cpu()[chosen], labels[chosen])
    return counts


def _minibatch_outputs(
    model: nn.Module, graph: DistGraph, local_ids: NDArray[np.int64], num_hops: int
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    device = next(model.parameters()).device
    uses_edge_attr = bool(getattr(model, "uses_edge_attr", False))
    loader = DistNeighborLoader(
        graph,
        local_ids + graph.partition.first_id,
        fanout=[-1] * num_hops,
        batch_size=_SEEDS_AT_ONCE,
        shuffle=False,
        edge_attr=uses_edge_attr,
    )
    for batch in loader:
        options = {}
        if uses_edge_attr:
            options["edge_attr"] = batch.edge_attr.to(device, torch.float32)
        with torch.no_grad():
            out = model(batch.x.to(device, torch.float32), batch.edge_index.to(device), **options)
        yield local_ids[batch.input_id.numpy()], out[: batch.batch_size]
