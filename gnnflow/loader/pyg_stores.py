"""PyG's interfaces over a gnnflow graph, so that PyG's own loaders and samplers run on it."""

import itertools
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import EdgeAttr, FeatureStore, GraphStore, TensorAttr
from torch_geometric.data.graph_store import EdgeLayout
from torch_geometric.sampler import (
    BaseSampler,
    EdgeSamplerInput,
    NegativeSampling,
    NodeSamplerInput,
    SamplerOutput,
)
from torch_geometric.sampler.neighbor_sampler import edge_sample

from gnnflow.errors import ConfigError, DataError
from gnnflow.files.npy_file import map_npy
from gnnflow.graph import DistGraph
from gnnflow.loader.arguments import Fanout, as_fanout
from gnnflow.loader.minibatch_maker import as_tensor


class PygFeatureStore(FeatureStore):  # type: ignore[misc]
    """The per-vertex arrays of a graph as a `torch_geometric.data.FeatureStore`.

    `store[None, "x", index]` are rows of `x` by global id, wherever they lie. In one process global
    ids are the ids of the input. Arrays of the graph are read only; `put_tensor` adds others, one
    row for each vertex of this rank, on all ranks together.
    """

    def __init__(self, graph: DistGraph) -> None:
        """Takes the graph of this rank."""
        super().__init__()
        # PyG's class turns attributes that are not in the dictionary into views.
        self.__dict__["_graph"] = graph
        self.__dict__["_added"] = []

    def _names(self) -> list[str]:
        return [*self._graph.array_names, *self._added]

    def _get_tensor(self, attr: TensorAttr) -> Tensor | None:
        if attr.group_name is not None or attr.attr_name not in self._names():
            return None
        spec = self._graph.manifest.arrays.get(attr.attr_name)
        rows = self._graph.store(attr.attr_name).fetch(self._ids(attr.index))
        tensor = as_tensor(rows, None if spec is None else spec.dtype)
        return tensor[0] if isinstance(attr.index, int) else tensor

    def _put_tensor(self, tensor: Tensor | NDArray[np.generic], attr: TensorAttr) -> bool:
        if attr.group_name is not None or attr.index is not None:
            raise DataError(
                "put_tensor takes a whole array, one row for each vertex of this rank; "
                "give it as put_tensor(rows, group_name=None, attr_name=NAME, index=None)"
            )
        rows = torch.as_tensor(tensor).detach().cpu().numpy()
        self._graph.serve(attr.attr_name, np.ascontiguousarray(rows))
        self._added.append(attr.attr_name)
        return True

    def _remove_tensor(self, attr: TensorAttr) -> bool:
        if attr.attr_name not in self._added:
            return False
        self._graph.unserve(attr.attr_name)
        self._added.remove(attr.attr_name)
        return True

    def _get_tensor_size(self, attr: TensorAttr) -> tuple[int, ...] | None:
        if attr.group_name is not None or attr.attr_name not in self._names():
            return None
        return (self._graph.num_vertices, *self._graph.store(attr.attr_name).row_shape)

    def get_all_tensor_attrs(self) -> list[TensorAttr]:
        """Returns the arrays that a loader fetches for every vertex."""
        return [TensorAttr(group_name=None, attr_name=name) for name in self._names()]

    def _ids(self, index: Tensor | NDArray[np.integer] | slice | int | None) -> NDArray[np.int64]:
        num_vertices = self._graph.num_vertices
        if index is None or isinstance(index, slice):
            bounds = (index or slice(None)).indices(num_vertices)
            return np.arange(*bounds, dtype=np.int64)
        if isinstance(index, Tensor):
            index = index.cpu().numpy()
        ids = np.atleast_1d(np.asarray(index))
        if ids.dtype == np.bool_:
            ids = np.flatnonzero(ids)
        if ids.size and (ids.min() < 0 or ids.max() >= num_vertices):
            raise DataError(
                f"index must be global ids in [0, {num_vertices}), got {ids.min()} to {ids.max()}"
            )
        return ids.astype(np.int64)


class PygGraphStore(GraphStore):  # type: ignore[misc]
    """The edges of a graph in one process as a `torch_geometric.data.GraphStore`.

    They are stored by destination (`layout="csc"`), mapped and not copied; `coo()` and `csr()`
    convert them in memory. Edges cannot be put or removed.
    """

    def __init__(self, graph: DistGraph) -> None:
        """Takes the graph.

        Raises:
            ConfigError: if the graph is spread over several ranks.
        """
        super().__init__()
        if graph.num_parts != 1:
            raise ConfigError(
                f"PyG's graph store holds all edges in one process, and {graph.path} has "
                f"{graph.num_parts} parts; partition the graph with --num-parts 1, or use "
                "DistNeighborLoader"
            )
        self._graph = graph

    def _get_edge_index(self, edge_attr: EdgeAttr) -> tuple[Tensor, Tensor] | None:
        if edge_attr.edge_type is not None:
            return None
        part = self._graph.partition
        row, colptr = _mapped(part.folder / "indices.npy"), _mapped(part.folder / "indptr.npy")
        if edge_attr.layout == EdgeLayout.CSC:
            return row, colptr
        if edge_attr.layout == EdgeLayout.COO:
            return row, torch.repeat_interleave(colptr.diff())
        return None

    def _put_edge_index(self, edge_index: object, edge_attr: EdgeAttr) -> bool:
        return False

    def _remove_edge_index(self, edge_attr: EdgeAttr) -> bool:
        return False

    def get_all_edge_attrs(self) -> list[EdgeAttr]:
        """Returns the one kind of edges, as it is stored."""
        size = (self._graph.num_vertices, self._graph.num_vertices)
        return [EdgeAttr(edge_type=None, layout="csc", is_sorted=True, size=size)]


class PygSampler(BaseSampler):  # type: ignore[misc]
    """gnnflow's sampler behind PyG's `NodeLoader` and `LinkLoader`, which need no pyg-lib with it.

    `NodeLoader((PygFeatureStore(graph), PygGraphStore(graph)), PygSampler(graph, [10, 25]), ...)`.
    Every call samples anew; `num_workers` must be 0, since the graph lives in this process.
    """

    def __init__(self, graph: DistGraph, num_neighbors: Fanout, *, seed: int = 0) -> None:
        """Prepares the sampler.

        Args:
            graph: the graph of this rank.
            num_neighbors: neighbours kept per hop, from the seeds outwards; -1 keeps all.
            seed: seed of the sampling.
        """
        super().__init__()
        self._graph = graph
        self._fanout = as_fanout(num_neighbors)
        self._sampler = graph.sampler(seed=seed)
        self._calls = itertools.count()

    @property
    def edge_permutation(self) -> None:
        """Edges are handed over without their numbers."""
        return None

    def sample_from_nodes(self, index: NodeSamplerInput, **kwargs: object) -> SamplerOutput:
        """Samples around vertices, each listed once."""
        out = self._sample(index.node)
        out.metadata = (index.input_id, index.time)
        return out

    def sample_from_edges(
        self, index: EdgeSamplerInput, neg_sampling: NegativeSampling | None = None
    ) -> SamplerOutput:
        """Samples around the ends of edges and of PyG's own random negatives."""
        return edge_sample(
            index,
            self._sample,
            self._graph.num_vertices,
            disjoint=False,
            neg_sampling=neg_sampling,
        )

    def _sample(self, seeds: Tensor, *_: object) -> SamplerOutput:
        subgraph = self._sampler.sample(
            seeds.numpy().astype(np.int64, copy=False),
            self._fanout,
            epoch=0,
            minibatch=next(self._calls),
        )
        row, col = torch.from_numpy(subgraph.edge_index())
        return SamplerOutput(
            node=torch.from_numpy(subgraph.vertices),
            row=row,
            col=col,
            edge=None,
            num_sampled_nodes=list(subgraph.num_sampled_vertices),
            num_sampled_edges=list(subgraph.num_sampled_edges),
        )


def _mapped(file: Path) -> Tensor:
    """A tensor over a mapped file; what is written to it stays in this process."""
    return torch.from_numpy(np.asarray(map_npy(file, "c")))
