"""From the seeds of a step to a minibatch: sample, fetch, assemble."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Data

from gnnflow.errors import ConfigError
from gnnflow.graph import DistGraph
from gnnflow.loader.seed_schedule import SeedBatch
from gnnflow.loader.sparse_adjacency import sparse_adjacency
from gnnflow.sampling import SampledSubgraph
from gnnflow.sampling.dist_sampler import MinibatchSeeds

Transform = Callable[[Data], Data]


@dataclass(frozen=True, kw_only=True, slots=True)
class SampledMinibatch:
    """A minibatch whose vertices are known and whose rows are not here yet."""

    seeds: SeedBatch
    subgraph: SampledSubgraph
    sample_s: float
    """Wall-clock seconds that sampling took."""


@dataclass(kw_only=True, slots=True)
class MinibatchCost:
    """What making a minibatch took and moved."""

    sample_s: float
    """Seconds of sampling, with waiting for other ranks' answers."""
    fetch_s: float = 0.0
    """Seconds of fetching rows, with waiting for other ranks' rows."""
    rows_cached: int = 0
    """Rows of other ranks that the halo cache had."""
    rows_fetched: int = 0
    """Rows that came from other ranks."""
    bytes_fetched: int = 0
    """Bytes of these rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MinibatchOptions:
    """What a minibatch holds."""

    fanout: tuple[int, ...]
    """Neighbours kept per hop, seeds first; -1 keeps all."""
    seed: int = 0
    """Seed of the sampling."""
    replace: bool = False
    """Whether a neighbour may be drawn several times."""
    arrays: tuple[str, ...] = ("x",)
    """Per-vertex arrays fetched for all vertices."""
    seed_arrays: tuple[str, ...] = ("y",)
    """Per-vertex arrays fetched for the seeds alone."""
    with_edge_ids: bool = False
    """Whether to hand over `e_id`, the edges' numbers in the input."""
    with_adj_t: bool = False
    """Whether to hand over `adj_t`, the edges as a sparse CSR tensor."""
    transform: Transform | None = field(default=None)
    """Called with every minibatch before it is handed over."""

    def __post_init__(self) -> None:
        """Checks the fanout.

        Raises:
            ConfigError: if a hop's fanout is neither positive nor -1, or there is no hop.
        """
        if not self.fanout or any(count < 1 and count != -1 for count in self.fanout):
            raise ConfigError(
                "fanout needs a number for each hop, at least 1 or -1 for all neighbours, "
                f"got {list(self.fanout)}"
            )


class MinibatchMaker:
    """Makes minibatches from seeds.

    `sample` and `complete` are functions of the seeds alone: a pipeline may run them for any
    minibatch, ahead of training and in threads of its own, one thread per method.
    """

    def __init__(self, graph: DistGraph, options: MinibatchOptions) -> None:
        """Opens the sampler and the stores of the arrays.

        Raises:
            DataError: if the graph lacks an array.
        """
        self._options = options
        self._sampler = graph.sampler(
            seed=options.seed, replace=options.replace, with_edge_ids=options.with_edge_ids
        )
        self._stores = [graph.store(name) for name in options.arrays]
        self._seed_stores = [graph.store(name) for name in options.seed_arrays]
        self._dtypes = {name: spec.dtype for name, spec in graph.manifest.arrays.items()}

    def sample(self, batches: Sequence[SeedBatch]) -> list[SampledMinibatch]:
        """Samples the neighbourhoods of several minibatches, with one exchange per hop for all."""
        start_s = time.perf_counter()
        subgraphs = self._sampler.sample_many(
            [MinibatchSeeds(batch.seeds, batch.epoch, batch.minibatch) for batch in batches],
            self._options.fanout,
        )
        sample_s = (time.perf_counter() - start_s) / max(len(batches), 1)
        return [
            SampledMinibatch(seeds=batch, subgraph=subgraph, sample_s=sample_s)
            for batch, subgraph in zip(batches, subgraphs, strict=True)
        ]

    def complete(self, sampled: SampledMinibatch) -> Data:
        """Fetches the rows of a sampled minibatch and puts it together."""
        start_s = time.perf_counter()
        subgraph, seeds = sampled.subgraph, sampled.seeds
        cost = MinibatchCost(sample_s=sampled.sample_s)
        wanted = [(store, subgraph.vertices) for store in self._stores]
        wanted += [(store, seeds.seeds) for store in self._seed_stores]
        # All questions are on their way before the first answer is waited for.
        fetches = [(store, store.fetch_async(ids)) for store, ids in wanted]
        rows: dict[str, Tensor] = {}
        for store, fetch in fetches:
            rows[store.name] = as_tensor(fetch.result(), self._dtypes.get(store.name))
            cost.rows_fetched += fetch.plan.num_remote
            cost.bytes_fetched += fetch.plan.num_remote * store.wire_row_bytes
        cost.fetch_s = time.perf_counter() - start_s
        batch = Data(
            edge_index=torch.from_numpy(subgraph.edge_index()),
            n_id=torch.from_numpy(subgraph.vertices),
            input_id=torch.from_numpy(seeds.input_id),
            batch_size=len(seeds.seeds),
            num_sampled_nodes=list(subgraph.num_sampled_vertices),
            num_sampled_edges=list(subgraph.num_sampled_edges),
            minibatch=seeds.minibatch,
            loss_weight=seeds.weight,
            cost=cost,
            **rows,
        )
        if self._options.with_adj_t:
            batch.adj_t = sparse_adjacency(subgraph)
        if subgraph.edge_ids is not None:
            batch.e_id = torch.from_numpy(subgraph.edge_ids)
        return batch if self._options.transform is None else self._options.transform(batch)

    def make(self, seeds: SeedBatch) -> Data:
        """Makes one minibatch."""
        [sampled] = self.sample([seeds])
        return self.complete(sampled)


def as_tensor(rows: NDArray[np.generic], dtype: str | None = None) -> Tensor:
    """Rows of a store as a tensor over the same memory.

    Args:
        rows: the rows as the store gives them.
        dtype: what the manifest calls their type; NumPy keeps bfloat16 in 16-bit integers.
    """
    tensor = torch.from_numpy(rows)
    return tensor.view(torch.bfloat16) if dtype == "bfloat16" else tensor
