"""One epoch of training: the loop that everything else feeds."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from gnnflow.in_degrees import IN_DEGREE
from gnnflow.loader import DistNeighborLoader, MinibatchCost
from gnnflow.models import LayeredModel, layer_adjacencies
from gnnflow.training.data_parallel.wrapped_model import WeightedDataParallel, unwrap
from gnnflow.training.loss_weighting import LossShares
from gnnflow.training.optimization import LearningRate
from gnnflow.training.records.step_metrics import EpochMetrics, EpochRecorder, StepMetrics
from gnnflow.training.tasks import Task


def attach_layers(batch: Data) -> Data:
    """Prepares what the aggregation kernels need; a `transform` of the loader."""
    batch.layers = layer_adjacencies(
        batch.edge_index, batch.num_sampled_nodes, first_is_stored="x_first" in batch
    )
    return batch


class MinibatchRecorder(Protocol):
    """Keeps something of every minibatch of this rank."""

    def add(self, epoch: int, cost: MinibatchCost, metrics: StepMetrics) -> None:
        """Is told of a minibatch that has been trained."""


class Trainer:
    """Trains a model of `gnnflow.models` on what a loader yields."""

    def __init__(
        self,
        model: nn.Module,
        loader: DistNeighborLoader,
        optimizer: torch.optim.Optimizer,
        task: Task,
        recorder: EpochRecorder,
        *,
        dtype: torch.dtype = torch.float32,
        recorders: Sequence[MinibatchRecorder] = (),
        learning_rate: LearningRate | None = None,
        clip_norm: float | None = None,
        shares: LossShares | None = None,
    ) -> None:
        """Takes the parts.

        Args:
            model: a wrapped `LayeredModel`, on its device.
            loader: minibatches of this rank.
            optimizer: updates the model's parameters.
            task: loss of the labels.
            recorder: where the steps' metrics go.
            dtype: float32, or bfloat16 for autocast.
            recorders: told what each minibatch asked for, moved and took.
            learning_rate: told of every step; None leaves the optimizer's as it is.
            clip_norm: largest norm of all gradients together.
            shares: what the loss of this rank counts with where seeds count differently.
        """
        inner = unwrap(model)
        assert isinstance(inner, LayeredModel)
        self._model = model
        self._uses_in_degree = inner.uses_in_degree
        self._uses_edge_attr = inner.uses_edge_attr
        self._loader = loader
        self._optimizer = optimizer
        self._task = task
        self._recorder = recorder
        self._device = next(model.parameters()).device
        self._dtype = dtype
        self._recorders = tuple(recorders)
        self._learning_rate = learning_rate
        self._clip_norm = clip_norm
        self._shares = shares

    def train_epoch(
        self,
        epoch: int,
        on_step: Callable[[StepMetrics], None] | None = None,
        *,
        first_step: int = 0,
    ) -> EpochMetrics:
        """Takes every minibatch of an epoch once; all ranks call this.

        Args:
            epoch: number of the epoch, from 0.
            on_step: called after each step.
            first_step: where to go on in an epoch whose first steps the recorder has already.

        Returns:
            The metrics of the epoch over all ranks.
        """
        self._model.train()
        self._loader.set_epoch(epoch, first_step=first_step)
        if self._shares is not None:
            self._shares.set_epoch(epoch)
        start_s = asked_s = time.perf_counter()
        for step, batch in enumerate(self._loader, first_step):
            wait_s = time.perf_counter() - asked_s
            metrics = self._step(step, batch, wait_s)
            self._recorder.add(metrics)
            for recorder in self._recorders:
                recorder.add(epoch, batch.cost, metrics)
            if on_step is not None:
                on_step(metrics)
            asked_s = time.perf_counter()
        return self._recorder.finish(epoch, time.perf_counter() - start_s)

    def _step(self, step: int, batch: Data, wait_s: float) -> StepMetrics:
        start_s = time.perf_counter()
        weight = batch.loss_weight
        if self._shares is not None:
            weight = self._shares.apply(step)
        loss = self._loss(batch, weight)
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        if self._clip_norm is not None:
            # After the sum over ranks: all clip alike.
            nn.utils.clip_grad_norm_(self._model.parameters(), self._clip_norm)
        self._optimizer.step()
        if self._learning_rate is not None:
            self._learning_rate.after_step()
        value = float(loss.detach())  # waits for the GPU, so that the time is that of the step
        elapsed_s = time.perf_counter() - start_s
        all_reduce_s = 0.0
        if isinstance(self._model, WeightedDataParallel):
            all_reduce_s = self._model.take_all_reduce_seconds()
        cost = batch.cost
        return StepMetrics(
            step=step,
            num_seeds=batch.batch_size,
            weight=weight,
            loss=value,
            num_vertices=len(batch.n_id),
            num_edges=batch.edge_index.shape[1],
            sample_s=cost.sample_s,
            fetch_s=cost.fetch_s,
            compute_s=max(elapsed_s - all_reduce_s, 0.0),
            all_reduce_s=all_reduce_s,
            traffic=dataclasses.replace(cost.traffic, wait_s=wait_s),
            feature_rows_asked=cost.feature_rows_asked,
            sample_exchanges=cost.sample_exchanges,
            sample_requests=cost.sample_requests,
            sample_bytes=cost.sample_bytes,
        )

    def _loss(self, batch: Data, weight: float) -> Tensor:
        device = self._device
        in_degree = self._moved(batch[IN_DEGREE]) if self._uses_in_degree else None
        edge_attr = self._moved(batch.edge_attr).float() if self._uses_edge_attr else None
        edges = batch.layers if "layers" in batch else self._moved(batch.edge_index)
        with torch.autocast(device.type, torch.bfloat16, enabled=self._dtype != torch.float32):
            logits: Tensor = self._model(
                self._moved(batch.x if "x" in batch else batch.x_first).float(),
                edges,
                batch.num_sampled_nodes,
                batch.num_sampled_edges,
                in_degree,
                edge_attr,
                self._moved(batch.x_first).float() if "x_first" in batch else None,
            )
        if not batch.batch_size or not weight:
            # The mean over nothing is NaN; this takes the same way through the model with zeros.
            return logits.sum() * 0.0
        return self._task.loss(logits[: batch.batch_size].float(), self._moved(batch.y))

    def _moved(self, tensor: Tensor) -> Tensor:
        """A tensor on the device; from pinned memory the copy goes on while Python does."""
        return tensor.to(self._device, non_blocking=True)
