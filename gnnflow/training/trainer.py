"""One epoch of training: the loop that everything else feeds."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from gnnflow.loader import DistNeighborLoader, MinibatchCost
from gnnflow.models import LayeredModel, layer_adjacencies
from gnnflow.training.gradients import WeightedDataParallel, unwrap
from gnnflow.training.in_degree import IN_DEGREE
from gnnflow.training.step_metrics import EpochMetrics, EpochRecorder, StepMetrics
from gnnflow.training.tasks import Task


def attach_layers(batch: Data) -> Data:
    """Prepares what the aggregation kernels need; a `transform` of the loader."""
    batch.layers = layer_adjacencies(batch.edge_index, batch.num_sampled_nodes)
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
        loss = self._loss(batch)
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        self._optimizer.step()
        value = float(loss.detach())  # waits for the GPU, so that the time is that of the step
        elapsed_s = time.perf_counter() - start_s
        all_reduce_s = 0.0
        if isinstance(self._model, WeightedDataParallel):
            all_reduce_s = self._model.take_all_reduce_seconds()
        cost = batch.cost
        rows_cached = cost.rows_cached + cost.rows_on_host
        return StepMetrics(
            step=step,
            num_seeds=batch.batch_size,
            weight=batch.loss_weight,
            loss=value,
            num_vertices=len(batch.n_id),
            num_edges=batch.edge_index.shape[1],
            sample_s=cost.sample_s,
            fetch_s=cost.fetch_s,
            wait_s=wait_s,
            compute_s=max(elapsed_s - all_reduce_s, 0.0),
            all_reduce_s=all_reduce_s,
            rows_remote=rows_cached + cost.rows_fetched - cost.rows_filled,
            rows_cached=rows_cached,
            rows_fetched=cost.rows_fetched,
            bytes_fetched=cost.bytes_fetched,
            rows_filled=cost.rows_filled,
            rows_asked=len(cost.remote_ids) + cost.rows_on_host,
            sample_exchanges=cost.sample_exchanges,
            sample_requests=cost.sample_requests,
            sample_bytes=cost.sample_bytes,
        )

    def _loss(self, batch: Data) -> Tensor:
        device = self._device
        in_degree = batch[IN_DEGREE].to(device) if self._uses_in_degree else None
        edge_attr = batch.edge_attr.to(device, torch.float32) if self._uses_edge_attr else None
        edges = batch.layers if "layers" in batch else batch.edge_index.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self._dtype != torch.float32):
            logits: Tensor = self._model(
                batch.x.to(device, torch.float32),
                edges,
                batch.num_sampled_nodes,
                batch.num_sampled_edges,
                in_degree,
                edge_attr,
            )
        if not batch.batch_size:
            # The mean over no seeds is NaN; this takes the same way through the model with zeros.
            return logits.sum() * 0.0
        return self._task.loss(logits[: batch.batch_size].float(), batch.y.to(device))
