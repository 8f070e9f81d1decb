"""Outputs of models that cannot be computed layer by layer, from minibatches of all neighbours.

And what the ways to ask for outputs share: one state of the model, and the choice between the two.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gnnflow.array_types import Ids
from gnnflow.comm import Context
from gnnflow.config import CHUNK_BYTES
from gnnflow.errors import ConfigError
from gnnflow.features import DistFeatureStore
from gnnflow.graph import DistGraph
from gnnflow.loader import DistNeighborLoader
from gnnflow.models import LayeredModel
from gnnflow.training.data_parallel.model_buffers import sync_buffers
from gnnflow.training.data_parallel.wrapped_model import unwrap
from gnnflow.training.evaluation.layerwise import (
    HIDDEN_BYTES,
    LayerwiseInference,
    LayerwiseModel,
    allocate_rows,
)
from gnnflow.training.model_calls import AUTO, EdgeArgument, device_of, num_hops_of

_SEEDS_AT_ONCE = 256


class MinibatchInference:
    """Computes a model's outputs by `model(x, edge_index)` on all neighbours of some seeds.

    As exact as layer by layer, but a vertex is computed for every seed that sees it, and a
    minibatch grows with the hubs of the graph.
    """

    def __init__(
        self,
        model: nn.Module,
        graph: DistGraph,
        *,
        num_hops: int | None = None,
        edge_argument: str | None = AUTO,
    ) -> None:
        """Prepares the computation.

        Args:
            model: any module, the one inside `wrap`.
            graph: the graph of this rank.
            num_hops: hops that the model looks at, by default its `num_layers`.
            edge_argument: as for `evaluate`.
        """
        self._num_hops = num_hops_of(model, num_hops)
        self._edges = EdgeArgument(model, "forward", graph, edge_argument)
        self._model = model
        self._graph = graph
        self.device = device_of(model)
        """Where the model is."""

    def outputs(self, local_ids: Ids) -> Iterator[tuple[Ids, Tensor]]:
        """Yields the outputs of some inner vertices; every rank must exhaust it.

        Args:
            local_ids: `[num_vertices]` which inner vertices.

        Yields:
            Consecutive pieces of `local_ids` with their outputs `[num_piece, ...]`, none empty.

        Raises:
            ConfigError: if the model returns something else than a row for each vertex.
        """
        name, device = self._edges.name, self.device
        loader = DistNeighborLoader(
            self._graph,
            local_ids + self._graph.partition.first_id,
            fanout=[-1] * self._num_hops,
            batch_size=_SEEDS_AT_ONCE,
            shuffle=False,
            edge_attr=name is not None,
            cache=None,  # one pass: nothing comes again that would be worth filling one
        )
        for batch in loader:
            if not batch.batch_size:
                continue
            options = {} if name is None else {name: self._edges.take(batch.edge_attr, device)}
            x, edge_index = batch.x.to(device, torch.float32), batch.edge_index.to(device)
            with torch.no_grad():
                out = self._model(x, edge_index, **options)
            if not isinstance(out, Tensor) or not out.ndim or len(out) < batch.batch_size:
                got = list(out.shape) if isinstance(out, Tensor) else type(out).__name__
                raise ConfigError(
                    f"{type(self._model).__name__} must return a tensor with a row for each of the "
                    f"{len(x)} vertices that it is given, got {got}"
                )
            yield local_ids[batch.input_id.numpy()], out[: batch.batch_size]

    @contextmanager
    def served(self, name: str, local_ids: Ids | None = None) -> Iterator[DistFeatureStore]:
        """Computes outputs and serves them; all ranks enter and leave together.

        Args:
            name: what to call them; no array of the graph may have that name.
            local_ids: the inner vertices whose outputs are wanted, all by default; rows of others
                mean nothing.

        Yields:
            float32 rows by global id.
        """
        num_vertices = self._graph.partition.num_vertices
        if local_ids is None:
            local_ids = np.arange(num_vertices, dtype=np.int64)
        rows: NDArray[np.float32] | None = None
        with ExitStack() as stack:
            for piece, out in self.outputs(local_ids):
                if rows is None:
                    rows = allocate_rows((num_vertices, *out.shape[1:]), HIDDEN_BYTES, stack)
                rows[piece] = out.float().cpu().numpy()
            # A rank without any takes the width from the others.
            shapes = self._graph.ctx.allgather_json(None if rows is None else rows.shape[1:])
            if rows is None:
                width = next((shape for shape in shapes if shape is not None), (0,))
                rows = np.zeros((num_vertices, *width), dtype=np.float32)
            yield self._graph.serve(name, rows)
            self._graph.unserve(name)


@contextmanager
def evaluating(model: nn.Module, ctx: Context) -> Iterator[nn.Module]:
    """The model inside `wrap` with one state on all ranks, which call this, and not training."""
    sync_buffers(model, ctx)
    inner = unwrap(model)
    training = inner.training
    inner.eval()
    try:
        yield inner
    finally:
        inner.train(training)


def inference_of(
    model: nn.Module,
    graph: DistGraph,
    *,
    num_hops: int | None = None,
    edge_argument: str | None = AUTO,
    chunk_bytes: int = CHUNK_BYTES,
) -> LayerwiseInference | MinibatchInference:
    """Computes a model layer by layer if it can be, else from minibatches.

    Args:
        model: any module, the one inside `wrap`.
        graph: the graph of this rank.
        num_hops: hops that a model without `layer` looks at, by default its `num_layers`.
        edge_argument: as for `evaluate`.
        chunk_bytes: about how much memory a chunk of vertices may take, layer by layer.

    Raises:
        ConfigError: if the hops are not known, or what the model needs cannot be handed over.
    """
    if isinstance(model, LayeredModel | LayerwiseModel):
        return LayerwiseInference(
            model, graph, chunk_bytes=chunk_bytes, edge_argument=edge_argument
        )
    return MinibatchInference(model, graph, num_hops=num_hops, edge_argument=edge_argument)
