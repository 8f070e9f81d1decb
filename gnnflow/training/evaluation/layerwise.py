"""Exact outputs of a model over all neighbours: layer by layer, distributed, chunk by chunk."""

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gnnflow.array_types import Ids
from gnnflow.config import CHUNK_BYTES
from gnnflow.features import DistFeatureStore
from gnnflow.files.reserved_file import new_mapped_array
from gnnflow.graph import DistGraph
from gnnflow.in_degrees import IN_DEGREE, ensure_in_degree
from gnnflow.loader import as_tensor
from gnnflow.models import LayerAdjacency, LayeredModel
from gnnflow.sampling import LocalNeighborSampler, SampledSubgraph
from gnnflow.training.model_calls import AUTO, EdgeArgument, device_of

HIDDEN_BYTES = 1 << 30
"""Hidden rows of a rank that take more memory than this lie in a temporary file."""


@runtime_checkable
class LayerwiseModel(Protocol):
    """A model that can compute one layer for any set of destination vertices.

    If it has `uses_edge_attr = True`, or `layer` an argument `edge_attr`, `edge_weight` or
    `edge_type`, it also gets the attributes of the edges in the order of `edge_index`.
    """

    @property
    def num_layers(self) -> int:
        """Number of layers."""

    def layer(self, index: int, x: tuple[Tensor, Tensor], edge_index: Tensor) -> Tensor:
        """Computes one layer, activation included.

        Args:
            index: number of the layer, from 0.
            x: rows of the sources `[num_src, dim]` and of the destinations `[num_dst, dim]`, as
                PyG's convolutions take them; the first sources are the destinations.
            edge_index: `[2, num_edges]` positions of source and destination.

        Returns:
            `[num_dst, dim]`.
        """


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Some destination vertices with all their in-neighbours and the rows of both."""

    local_ids: Ids
    subgraph: SampledSubgraph
    rows: Callable[[], Tensor]
    in_degree: Callable[[], Tensor] | None
    edge_attr: Callable[[], Tensor] | None


class LayerwiseInference:
    """Computes a model's outputs from all neighbours of every vertex.

    Each layer is computed once for every inner vertex, from rows of the layer before that other
    ranks serve: no vertex is computed twice, and memory does not grow with the number of hops.
    """

    def __init__(
        self,
        model: LayeredModel | LayerwiseModel,
        graph: DistGraph,
        *,
        chunk_bytes: int = CHUNK_BYTES,
        hidden_bytes: int = HIDDEN_BYTES,
        edge_argument: str | None = AUTO,
    ) -> None:
        """Prepares the computation.

        Args:
            model: a module, the one inside `wrap`.
            graph: the graph of this rank.
            chunk_bytes: about how much memory a chunk of vertices may take.
            hidden_bytes: hidden rows that take more than this lie in a temporary file.
            edge_argument: as for `evaluate`.

        Raises:
            ConfigError: if the model needs of the edges what the graph does not have.
        """
        assert isinstance(model, nn.Module)
        self._model: LayeredModel | LayerwiseModel = model
        self._graph = graph
        self._chunk_bytes = chunk_bytes
        self._hidden_bytes = hidden_bytes
        self.device = device_of(model)
        """Where the model is."""
        self._edges = EdgeArgument(model, "layer", graph, edge_argument)
        self._uses_edge_attr = self._edges.name is not None
        self._sampler = LocalNeighborSampler(
            graph.edges.topology if self._uses_edge_attr else graph.topology,
            num_threads=graph.ctx.threads,
            with_edge_ids=self._uses_edge_attr,
        )

    def outputs(self, local_ids: Ids) -> Iterator[tuple[Ids, Tensor]]:
        """Yields the outputs of some inner vertices; every rank must exhaust it.

        Args:
            local_ids: `[num_vertices]` which inner vertices.

        Yields:
            Consecutive pieces of `local_ids` with their outputs `[num_piece, dim]`.
        """
        last = self._model.num_layers - 1
        with self._input_of(last) as store:
            self._graph.ctx.step = f"evaluation, layer {last}"
            yield from self._layer(last, store, local_ids)

    @contextmanager
    def served(self, name: str) -> Iterator[DistFeatureStore]:
        """Computes the outputs of all vertices and serves them; all ranks enter and leave together.

        Args:
            name: what to call them; no array of the graph may have that name.

        Yields:
            float32 rows by global id.
        """
        graph, last = self._graph, self._model.num_layers - 1
        with ExitStack() as own:
            with self._input_of(last) as store:
                graph.ctx.step = f"evaluation, layer {last}"
                rows = self._rows(last, store, own)
            yield graph.serve(name, rows)
            graph.unserve(name)

    @contextmanager
    def served_layers(
        self, name: str, local_ids: Ids
    ) -> Iterator[tuple[DistFeatureStore, DistFeatureStore]]:
        """Serves outputs and what the last layer takes; all ranks enter and leave together.

        Args:
            name: what to call the outputs; no array of the graph may have that name.
            local_ids: the inner vertices whose outputs are wanted; rows of others mean nothing.

        Yields:
            The input of the last layer (the hidden rows before it, or the features of the graph if
            there is one layer) and the outputs, by global id.
        """
        graph, last = self._graph, self._model.num_layers - 1
        with self._input_of(last) as store, ExitStack() as own:
            graph.ctx.step = f"evaluation, layer {last}"
            yield store, graph.serve(name, self._rows(last, store, own, local_ids))
            graph.unserve(name)

    @contextmanager
    def _input_of(self, last: int) -> Iterator[DistFeatureStore]:
        """Computes the layers before one and yields the rows that it takes."""
        graph = self._graph
        if _uses_in_degree(self._model):
            ensure_in_degree(graph)
        store = graph.store("x")
        with ExitStack() as stack:
            for index in range(last):
                graph.ctx.step = f"evaluation, layer {index}"
                hidden = self._rows(index, store, stack)
                store = graph.serve(f"hidden_{index}", hidden)
                stack.callback(graph.unserve, store.name)
            yield store

    def _rows(
        self,
        index: int,
        store: DistFeatureStore,
        stack: ExitStack,
        local_ids: Ids | None = None,
    ) -> NDArray[np.float32]:
        """The outputs of a layer for all inner vertices, or some."""
        num_vertices = self._graph.partition.num_vertices
        if local_ids is None:
            local_ids = np.arange(num_vertices, dtype=np.int64)
        rows = np.empty((0, 0), dtype=np.float32)
        for number, (piece, out) in enumerate(self._layer(index, store, local_ids)):
            if number == 0:
                rows = allocate_rows((num_vertices, out.shape[1]), self._hidden_bytes, stack)
            rows[piece] = out.float().cpu().numpy()
        return rows

    def _layer(
        self, index: int, store: DistFeatureStore, local_ids: Ids
    ) -> Iterator[tuple[Ids, Tensor]]:
        pieces = self._cut(local_ids, store.row_shape[0])
        pending = self._begin(pieces[0], store)
        for following in (*pieces[1:], None):
            chunk = pending
            if following is not None:
                # The next chunk's rows travel while this one is computed.
                pending = self._begin(following, store)
            yield chunk.local_ids, self._compute(index, chunk)

    def _cut(self, local_ids: Ids, dim: int) -> Sequence[Ids]:
        """Cuts vertices into chunks of at most about `chunk_bytes`, one at least."""
        indptr = self._graph.partition.indptr
        # A row for the vertex and one for each in-neighbour, and messages as wide.
        rows = 1 + indptr[local_ids + 1] - indptr[local_ids]
        limit = max(1, self._chunk_bytes // (2 * 4 * max(dim, 1)))
        chunk_of = (np.cumsum(rows) - 1) // limit
        return np.split(local_ids, np.flatnonzero(np.diff(chunk_of)) + 1)

    def _begin(self, local_ids: Ids, store: DistFeatureStore) -> _Chunk:
        seeds = local_ids + self._graph.partition.first_id
        subgraph = self._sampler.sample(seeds, [-1], epoch=0, minibatch=0)
        in_degree = None
        if _uses_in_degree(self._model):
            in_degree = self._ask(self._graph.store(IN_DEGREE), subgraph.vertices)
        edge_attr = None
        if self._uses_edge_attr and subgraph.edge_ids is not None:
            edge_attr = self._ask(self._graph.edges.store("edge_attr"), subgraph.edge_ids)
        rows = self._ask(store, subgraph.vertices)
        return _Chunk(local_ids, subgraph, rows, in_degree, edge_attr)

    def _ask(self, store: DistFeatureStore, global_ids: Ids) -> Callable[[], Tensor]:
        """Begins to fetch rows; the result waits for them."""
        fetch = store.fetch_async(global_ids)
        spec = self._graph.manifest.arrays.get(store.name)
        dtype = None if spec is None else spec.dtype
        return lambda: as_tensor(fetch.result(), dtype)

    def _compute(self, index: int, chunk: _Chunk) -> Tensor:
        x = chunk.rows().to(self.device, torch.float32)
        pair = (x, x[: len(chunk.local_ids)])
        edge_attr = None
        if chunk.edge_attr is not None:
            edge_attr = self._edges.take(chunk.edge_attr(), self.device)
        with torch.no_grad():
            if not isinstance(self._model, LayeredModel):
                edge_index = torch.from_numpy(chunk.subgraph.edge_index()).to(self.device)
                name = self._edges.name
                options = {} if edge_attr is None or name is None else {name: edge_attr}
                return self._model.layer(index, pair, edge_index, **options)
            degree = None
            if chunk.in_degree is not None:
                degree = chunk.in_degree().to(self.device)
            adjacency = LayerAdjacency(
                torch.from_numpy(chunk.subgraph.indptr),
                torch.from_numpy(chunk.subgraph.src),
                chunk.subgraph.num_vertices,
            )
            return self._model.layer(index, pair, adjacency.to(self.device), degree, edge_attr)


def allocate_rows(
    shape: tuple[int, ...], memory_bytes: int, stack: ExitStack
) -> NDArray[np.float32]:
    """Room for rows, in a temporary file that ends with the stack if they take more than this."""
    if 4 * math.prod(shape) <= memory_bytes:
        return np.empty(shape, dtype=np.float32)
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="gnnflow-"))
    return np.asarray(new_mapped_array(Path(folder) / "hidden.npy", np.float32, shape))


def _uses_in_degree(model: LayeredModel | LayerwiseModel) -> bool:
    return isinstance(model, LayeredModel) and model.uses_in_degree
