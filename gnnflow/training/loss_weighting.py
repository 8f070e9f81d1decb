"""What errors on each class count with, and with it the losses of ranks, whose classes differ."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnnflow.comm import Context
from gnnflow.config import OptimizationConfig
from gnnflow.errors import ConfigError, one_line
from gnnflow.files.npy_file import map_npy
from gnnflow.files.regular_file import read_regular_text
from gnnflow.graph import DistGraph
from gnnflow.loader import SeedSchedule
from gnnflow.training.tasks import RegressionTask, Task, task_of

BALANCED = "balanced"


def weighted_task(config: OptimizationConfig, graph: DistGraph) -> Task:
    """What there is to learn, with the weights that the options name; all ranks call this.

    Args:
        config: says what labels are and what errors on each class count with.
        graph: a graph with labels.

    Raises:
        ConfigError: if the labels are numbers and there are weights, or a file cannot be used.
        DataError: if there are no labels or they are of another kind.
    """
    task = task_of(graph.manifest, config.task)
    if config.class_weights is None:
        return task
    if isinstance(task, RegressionTask):
        raise ConfigError("class_weights are for classes, and these labels are numbers; drop them")
    weights = class_weights(config.class_weights, graph, task.num_outputs)
    return task_of(graph.manifest, config.task, weights)


def class_weights(source: str, graph: DistGraph, num_classes: int) -> NDArray[np.float64]:
    """Reads or computes the weights of the classes; all ranks call this.

    Args:
        source: `balanced`, or a file of a number per class: `.npy`, or text with blanks, commas or
            lines between. Rank 0 reads it.
        graph: a graph with labels.
        num_classes: number of classes.

    Returns:
        float64 `[num_classes]`. `balanced` gives `seeds / (classes * seeds of the class)` for one
        label per vertex, and `seeds without / seeds with` the class for several; a class without
        train seeds has weight 1.

    Raises:
        ConfigError: if the file cannot be used.
    """
    if source == BALANCED:
        return _balanced(graph, num_classes)
    problem, values = "", []
    if graph.ctx.rank == 0:
        try:
            values = _read(Path(source)).tolist()
        except (OSError, ValueError) as error:
            problem = f"cannot read the class weights {source}: {one_line(error)}"
    problem, values = graph.ctx.broadcast_json([problem, values])
    if problem:
        raise ConfigError(problem)
    weights = np.array(values, dtype=np.float64)
    if len(weights) != num_classes or not np.isfinite(weights).all() or (weights < 0).any():
        raise ConfigError(
            f"{source} must hold a number from 0 on for each of the {num_classes} classes, got "
            f"{len(weights)} numbers from {weights.min(initial=0):g} to {weights.max(initial=0):g}"
        )
    return weights


class LossShares:
    """This rank's share of the weight of all seeds in each step.

    A weighted mean divides by the weights in the batch, so ranks must count with the weight of
    their seeds and not with their number: then the summed gradient is exactly that of the weighted
    mean over the seeds of the job.
    """

    def __init__(
        self, ctx: Context, schedule: SeedSchedule, seed_weights: NDArray[np.float64]
    ) -> None:
        """Takes the weights of the seeds.

        Args:
            ctx: the job.
            schedule: which seeds a step takes.
            seed_weights: float64 `[num_seeds]`: weight of each seed of `schedule.seeds`.
        """
        self._ctx = ctx
        self._schedule = schedule
        self._weights = seed_weights
        self._shares: NDArray[np.float64] = np.zeros(0)

    def set_epoch(self, epoch: int) -> None:
        """Works out the shares of an epoch; all ranks call this, one message for all steps."""
        steps = range(self._schedule.num_steps)
        own = np.array(
            [self._weights[self._schedule.batch(epoch, step).input_id].sum() for step in steps]
        )
        total = self._ctx.allreduce_sum(own)
        self._shares = np.divide(own, total, out=np.zeros_like(own), where=total > 0)

    def apply(self, step: int) -> float:
        """Sets what the gradient of this rank counts with in a step, and returns it, in [0, 1].

        Call it after the loader has yielded the batch, which sets the share of the seeds.
        """
        share = float(self._shares[step])
        self._ctx.loss_weight = share
        return share


def _read(path: Path) -> NDArray[np.float64]:
    if path.suffix == ".npy":
        return np.asarray(map_npy(path), dtype=np.float64).reshape(-1)
    text = read_regular_text(path).replace(",", " ")
    return np.array([float(word) for word in text.split()], dtype=np.float64)


def _balanced(graph: DistGraph, num_classes: int) -> NDArray[np.float64]:
    seeds = graph.partition.splits["train"]
    labels = np.asarray(graph.partition.arrays["y"][seeds])
    several = labels.ndim == 2
    if several:
        own = (labels > 0).sum(axis=0, dtype=np.int64)
    else:
        own = np.bincount(labels, minlength=num_classes).astype(np.int64)
    counts = graph.ctx.allreduce_sum(np.append(own, len(seeds)))
    present, total = counts[:-1], counts[-1]
    absent = total - present if several else np.full_like(present, total)
    divisor = present if several else present * num_classes
    weights = np.ones(num_classes)
    np.divide(absent, divisor, out=weights, where=present > 0)
    return weights
