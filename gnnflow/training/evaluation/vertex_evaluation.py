"""Scores of a model from all neighbours of every vertex, over all ranks."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gnnflow.config import CHUNK_BYTES
from gnnflow.errors import ConfigError
from gnnflow.graph import DistGraph
from gnnflow.loader.arguments import as_names
from gnnflow.training.evaluation.minibatch_inference import evaluating, inference_of
from gnnflow.training.model_calls import AUTO
from gnnflow.training.tasks import Scored, SingleLabelTask, Task, task_of

SPLITS = ("train", "val", "test")


def evaluate(
    model: nn.Module,
    graph: DistGraph,
    splits: str | Sequence[str] = SPLITS,
    *,
    num_hops: int | None = None,
    edge_argument: str | None = AUTO,
    chunk_bytes: int = CHUNK_BYTES,
    task: Task | None = None,
) -> dict[str, float | None]:
    """Scores a model on splits of the graph, exactly; every rank must call this.

    A model with `num_layers` and `layer` (see `LayerwiseModel`) is computed layer by layer, each
    vertex once. Any other model is called as `model(x, edge_index)` on minibatches that hold all
    neighbours of `num_hops` hops (one more for PyG's layers that look at the degree of sources, as
    `GCNConv`): as exact, but slow and large on graphs with hubs. What a rank's rows share within a
    minibatch, as in `GraphNorm`, is that of these minibatches.

    Args:
        model: the model, wrapped or not.
        graph: the graph of this rank.
        splits: names of splits.
        num_hops: hops that a model without `layer` looks at; by default its `num_layers`.
        edge_argument: the model's argument that takes the attributes of the graph's edges:
            `edge_attr`, `edge_weight` (a number per edge), `edge_type` (a whole number) or another.
            By default the one that its `forward` (or `layer`) names, which is said if the model
            would do without; `uses_edge_attr = True` of the model means `edge_attr`, False none.
            None hands nothing over.
        chunk_bytes: about how much memory a chunk of vertices may take.
        task: what labels are; by default what they look like.

    Returns:
        The score of each split over all ranks (accuracy, micro-averaged F1 where a vertex has
        several labels, R2 where labels are numbers); None for a split without vertices.

    Raises:
        ConfigError: if `num_hops` is needed and missing, or the model needs what is not there.
        DataError: if the graph has no labels.
    """
    task = task_of(graph.manifest) if task is None else task
    splits = as_names("splits", splits)
    every = evaluate_scores(
        model,
        graph,
        splits,
        task=task,
        num_hops=num_hops,
        edge_argument=edge_argument,
        chunk_bytes=chunk_bytes,
    )
    return {split: scores[task.score_name] for split, scores in every.items()}


def evaluate_scores(
    model: nn.Module,
    graph: DistGraph,
    splits: Sequence[str] = SPLITS,
    *,
    task: Task,
    num_hops: int | None = None,
    edge_argument: str | None = AUTO,
    chunk_bytes: int = CHUNK_BYTES,
) -> dict[str, Scored]:
    """As `evaluate`, with all scores of a task by name for each split."""
    with evaluating(model, graph.ctx) as inner:
        counts = _count(inner, graph, splits, task, num_hops, edge_argument, chunk_bytes)
    total = graph.ctx.allreduce_sum(counts)
    return {split: task.scores(row) for split, row in zip(splits, total, strict=True)}


def _count(
    model: nn.Module,
    graph: DistGraph,
    splits: Sequence[str],
    task: Task,
    num_hops: int | None,
    edge_argument: str | None,
    chunk_bytes: int,
) -> NDArray[np.float64]:
    """`[num_splits, num_counts]` counts of this rank; sums of whole numbers stay exact."""
    counts = np.zeros((len(splits), task.num_counts), dtype=np.float64)
    seeds = [graph.partition.splits.get(split, np.empty(0, np.int64)) for split in splits]
    wanted = np.unique(np.concatenate([np.empty(0, np.int64), *seeds]))
    inference = inference_of(
        model, graph, num_hops=num_hops, edge_argument=edge_argument, chunk_bytes=chunk_bytes
    )
    for local_ids, logits in inference.outputs(wanted):
        _check_width(model, logits, task)
        labels = torch.from_numpy(np.array(graph.partition.arrays["y"][local_ids]))
        for row, ids in zip(counts, seeds, strict=True):
            chosen = torch.from_numpy(np.isin(local_ids, ids, assume_unique=True))
            row += task.count(logits.cpu()[chosen], labels[chosen])
    return counts


def _check_width(model: nn.Module, logits: Tensor, task: Task) -> None:
    width = logits.shape[1:].numel()
    # A model may leave out classes, not invent some.
    fewer = isinstance(task, SingleLabelTask) and 0 < width < task.num_outputs
    if width != task.num_outputs and not fewer:
        raise ConfigError(
            f"{type(model).__name__} gives {width} numbers for a vertex and the labels need "
            f"{task.num_outputs}; make its output as wide"
        )
