"""From the seeds of a step to a minibatch: sample, fetch, assemble."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Data

from gnnflow.features import DistFeatureStore, FetchUnderWay
from gnnflow.first_hop import FirstHop, joint_name, split_rows
from gnnflow.graph import DistGraph
from gnnflow.loader.arguments import as_fanout
from gnnflow.loader.seed_schedule import SeedBatch
from gnnflow.loader.sparse_adjacency import sparse_adjacency
from gnnflow.partition.stored_rows import INT8_SCALED, SCALE_BYTES, decode_int8
from gnnflow.prefetch import CachedRows, RowRequest
from gnnflow.prefetch.row_memory import MemoryMeter
from gnnflow.sampling import SampledSubgraph
from gnnflow.sampling.dist_sampler import MinibatchSeeds
from gnnflow.sampling.draws import DrawName
from gnnflow.traffic import Traffic

FEATURES = "x"
"""The array whose remote rows the halo cache keeps."""
Transform = Callable[[Data], Data]


@dataclass(kw_only=True, slots=True)
class MinibatchCost:
    """What making a minibatch took and moved."""

    sample_s: float
    """Seconds of sampling, with waiting for other ranks' answers."""
    fetch_s: float = 0.0
    """Seconds of fetching rows, with waiting for other ranks' rows."""
    remote_ids: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Vertices whose features only other ranks have, cached or not; what a trace records."""
    subgraph_bytes: int = 0
    """Size of the sampled minibatch, without rows."""
    known_s: tuple[float, float] = (0.0, 0.0)
    """Seconds of waiting and of everything in the training loop that became known before its rows
    were planned; what a policy is told."""
    traffic: Traffic = field(default_factory=Traffic)
    """Rows of all arrays that other ranks own; how long they are waited for is not known yet."""
    rows_on_host: int = 0
    """Rows among those found that were common rows of this machine."""
    num_requests: int = 0
    """Messages that asked for them."""
    sample_exchanges: int = 0
    """Hops of which other ranks drew a part. Minibatches that are sampled together share them; they
    count with the first one, as do the next two."""
    sample_requests: int = 0
    """Messages that asked other ranks for neighbours."""
    sample_bytes: int = 0
    """Bytes of their answers."""

    @property
    def feature_rows_asked(self) -> int:
        """Rows of features among `traffic.rows_asked`: what the halo cache was asked for."""
        return len(self.remote_ids) + self.rows_on_host


@dataclass(kw_only=True, slots=True)
class SampledMinibatch:
    """A minibatch whose vertices are known and whose rows are not here yet."""

    seeds: SeedBatch
    subgraph: SampledSubgraph
    cost: MinibatchCost
    features: RowRequest | None = None
    """Rows of the features, once they are announced."""
    fetches: list[tuple[DistFeatureStore, FetchUnderWay]] = field(default_factory=list)
    """Rows of all other arrays, once they are asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MinibatchOptions:
    """What a minibatch holds."""

    fanout: tuple[int, ...]
    """Neighbours kept per hop, seeds first; -1 keeps all."""
    seed: int = 0
    """Seed of the sampling."""
    replace: bool = False
    """Whether a neighbour may be drawn several times."""
    draw: DrawName = "independent"
    """Which neighbours are kept, as in `gnnflow.sampling.draws`."""
    draw_every: int = 1
    """Steps for which a source keeps its key with `dependent`."""
    weight_attr: str | None = None
    """Name of the edge weights by which neighbours are drawn."""
    num_steps: int = 0
    """Steps of an epoch; draws by key count them on over epochs."""
    first_hop: FirstHop | None = None
    """What vertices bring along in place of a last hop, as in `gnnflow.first_hop`."""
    arrays: tuple[str, ...] = ("x",)
    """Per-vertex arrays fetched for all vertices."""
    seed_arrays: tuple[str, ...] = ("y",)
    """Per-vertex arrays fetched for the seeds alone."""
    with_edge_ids: bool = False
    """Whether to hand over `e_id`, the edges' numbers in the input."""
    with_edge_attr: bool = False
    """Whether to hand over `edge_attr`, the attributes of the edges."""
    with_adj_t: bool = False
    """Whether to hand over `adj_t`, the edges as a sparse CSR tensor."""
    pin_memory: bool = False
    """Whether the rows of the features lie in page-locked memory."""
    device: torch.device | None = None
    """Where the features, cached ones included, are kept and gathered; None for NumPy's memory."""
    transform: Transform | None = field(default=None)
    """Called with every minibatch before it is handed over."""

    def __post_init__(self) -> None:
        """Checks the fanout.

        Raises:
            ConfigError: if a hop's fanout is neither positive nor -1, or there is no hop and no
                stored one.
        """
        if self.fanout or self.first_hop is None:
            as_fanout(self.fanout)

    @property
    def features(self) -> str:
        """The array that the halo cache holds rows of."""
        return FEATURES if self.first_hop is None else joint_name(self.first_hop)

    @property
    def stores(self) -> tuple[str, ...]:
        """What the rows of `arrays` come from."""
        return tuple(self.features if name == FEATURES else name for name in self.arrays)


class MinibatchMaker:
    """Makes minibatches from seeds, in the stages of a prefetch pipeline.

    A minibatch is a function of its seeds alone. It goes through `sample`, `announce`, `plan`,
    `ask` and `complete`; a pipeline calls the first, the next three and the last in three threads.
    """

    def __init__(
        self,
        graph: DistGraph,
        options: MinibatchOptions,
        features: CachedRows | None = None,
    ) -> None:
        """Opens the sampler and the stores of the arrays.

        Args:
            graph: the graph.
            options: what a minibatch holds.
            features: one of `options.arrays` through a halo cache; the first one without a cache by
                default.

        Raises:
            DataError: if the graph lacks an array.
        """
        self._options = options
        self._sampler = graph.sampler(
            seed=options.seed,
            replace=options.replace,
            with_edge_ids=options.with_edge_ids,
            global_edge_ids=options.with_edge_attr,
            draw=options.draw,
            draw_every=options.draw_every,
            weight_attr=options.weight_attr,
        )
        # Rows of edges are asked for by global id, from which their numbers in the input follow.
        self._edge_stores = [graph.edges.store("edge_attr")] if options.with_edge_attr else []
        if options.with_edge_attr and options.with_edge_ids:
            self._edge_stores.append(graph.edges.store("edge_id"))
        stores = [graph.store(name) for name in options.stores]
        if features is None and stores:
            features = CachedRows(stores[0])
        if features is not None and options.device is not None:
            features.use_device(options.device)
        elif features is not None and options.pin_memory:
            features.pin_memory()
        self._features = features
        self._stores = [
            store for store in stores if features is None or store is not features.store
        ]
        self._seed_stores = [graph.store(name) for name in options.seed_arrays]
        self._dtypes = {name: spec.dtype for name, spec in graph.manifest.arrays.items()}
        self._joint = None if options.first_hop is None else options.features
        self._is_first = True
        self._subgraphs = MemoryMeter()

    @property
    def queue_bytes(self) -> int:
        """The most memory that minibatches under way took: sampled ones, and rows of features."""
        rows = 0 if self._features is None else self._features.peak_bytes
        return self._subgraphs.peak_bytes + rows

    @property
    def cache_bytes(self) -> int:
        """Memory of the halo cache: its rows and its books."""
        return 0 if self._features is None else self._features.cache_bytes

    def sample(self, batches: Sequence[SeedBatch]) -> list[SampledMinibatch]:
        """Samples the neighbourhoods of several minibatches, with one exchange per hop for all."""
        start_s = time.perf_counter()
        before = dataclasses.replace(self._sampler.counts)
        subgraphs = self._sampler.sample_many(
            [
                MinibatchSeeds(
                    batch.seeds,
                    batch.epoch,
                    batch.minibatch,
                    batch.epoch * self._options.num_steps + batch.step,
                )
                for batch in batches
            ],
            self._options.fanout,
        )
        sample_s = (time.perf_counter() - start_s) / max(len(batches), 1)
        sampled = [
            SampledMinibatch(
                seeds=batch,
                subgraph=batch.prepare(subgraph),
                cost=MinibatchCost(sample_s=sample_s, subgraph_bytes=_size_of(subgraph)),
            )
            for batch, subgraph in zip(batches, subgraphs, strict=True)
        ]
        self._subgraphs.add(sum(each.cost.subgraph_bytes for each in sampled))
        if sampled:
            cost, counts = sampled[0].cost, self._sampler.counts
            cost.sample_exchanges = counts.exchanges - before.exchanges
            cost.sample_requests = counts.requests - before.requests
            cost.sample_bytes = counts.bytes_remote - before.bytes_remote
        return sampled

    def wants_more(self) -> bool:
        """Tells whether a further minibatch has to be announced before the next one is planned."""
        return self._features is not None and self._features.wants_more()

    def may_ask_early(self) -> bool:
        """Tells whether rows may be asked for earlier than has to be."""
        return self._features is not None and self._features.may_ask_early()

    def announce(self, sampled: SampledMinibatch) -> None:
        """Tells the halo cache what a later minibatch will ask for."""
        if self._features is None:
            return
        start_s = time.perf_counter()
        request = self._features.request(sampled.subgraph.vertices, sampled.cost.subgraph_bytes)
        self._features.announce(request)
        sampled.features = request
        sampled.cost.remote_ids = request.remote_ids
        sampled.cost.fetch_s += time.perf_counter() - start_s

    def plan(self, sampled: SampledMinibatch) -> SampledMinibatch:
        """Decides which features to fetch for the oldest announced minibatch."""
        if self._features is not None and sampled.features is not None:
            start_s = time.perf_counter()
            self._features.plan(sampled.features)
            sampled.cost.known_s = sampled.features.known_s
            sampled.cost.fetch_s += time.perf_counter() - start_s
        return sampled

    def ask(self, planned: Sequence[SampledMinibatch]) -> None:
        """Asks other ranks for the rows of planned minibatches, features all in one exchange."""
        start_s = time.perf_counter()
        requests = [sampled.features for sampled in planned if sampled.features is not None]
        if self._features is not None and requests:
            self._features.ask(requests)
        for sampled in planned:
            wanted = [(store, sampled.subgraph.vertices) for store in self._stores]
            wanted += [(store, sampled.seeds.seeds) for store in self._seed_stores]
            if sampled.subgraph.edge_ids is not None:
                wanted += [(store, sampled.subgraph.edge_ids) for store in self._edge_stores]
            # All questions are on their way before the first answer is waited for.
            sampled.fetches = [(store, store.fetch_async(ids)) for store, ids in wanted]
        share_s = (time.perf_counter() - start_s) / max(len(planned), 1)
        for sampled in planned:
            sampled.cost.fetch_s += share_s

    def complete(self, asked: SampledMinibatch) -> Data:
        """Waits for the rows of a minibatch and puts it together."""
        start_s = time.perf_counter()
        subgraph, seeds, cost = asked.subgraph, asked.seeds, asked.cost
        self._subgraphs.add(-cost.subgraph_bytes)
        rows: dict[str, Tensor] = {}
        if self._features is not None and asked.features is not None:
            store = self._features.store
            rows |= self._tensors(store.name, self._features.gather(asked.features))
            self._count_features(asked.features, cost)
        for store, fetch in asked.fetches:
            rows |= self._tensors(store.name, fetch.result())
            cost.traffic += Traffic(
                rows_asked=fetch.num_remote,
                bytes_fetched=fetch.num_remote * store.wire_row_bytes,
            )
            cost.num_requests += fetch.num_requests
        cost.fetch_s += time.perf_counter() - start_s
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
            **seeds.attributes(),
            **{name: tensor for name, tensor in rows.items() if name != "edge_id"},
        )
        if self._options.with_adj_t:
            batch.adj_t = sparse_adjacency(subgraph)
        if self._options.with_edge_ids and subgraph.edge_ids is not None:
            numbers = rows.get("edge_id")
            batch.e_id = torch.from_numpy(subgraph.edge_ids) if numbers is None else numbers
        return batch if self._options.transform is None else self._options.transform(batch)

    def abandon(self, asked: SampledMinibatch) -> None:
        """Waits for the rows of a minibatch that nobody wants any more."""
        if self._features is not None and asked.features is not None:
            self._features.abandon(asked.features)
        for _, fetch in asked.fetches:
            fetch.result()

    def retract(self) -> None:
        """Forgets minibatches that were announced and will not be planned."""
        self._subgraphs.add(-self._subgraphs.held_bytes)
        if self._features is not None:
            self._features.retract()

    def make(self, seeds: SeedBatch) -> Data:
        """Makes one minibatch."""
        [sampled] = self.sample([seeds])
        self.announce(sampled)
        self.ask([self.plan(sampled)])
        return self.complete(sampled)

    def _tensors(self, name: str, rows: NDArray[np.generic] | Tensor) -> dict[str, Tensor]:
        """What a batch calls the rows of a store."""
        kind = self._options.first_hop
        if name != self._joint or kind is None:
            return {name: as_tensor(rows, self._dtypes.get(name))}
        dtype = self._dtypes[FEATURES]
        if isinstance(rows, np.ndarray) and dtype != INT8_SCALED:
            # A slice of an array would not keep it, and its memory would serve again.
            rows = torch.from_numpy(rows)
        x, first = split_rows(rows, kind)
        tensors = {"x_first": as_tensor(first, dtype)}
        return tensors if x is None else {FEATURES: as_tensor(x, dtype), **tensors}

    def _count_features(self, request: RowRequest, cost: MinibatchCost) -> None:
        assert self._features is not None
        cost.traffic = request.traffic
        if self._is_first:
            # The fill before the first minibatch is traffic as well.
            self._is_first = False
            filled = self._features.rows_filled_at_start
            cost.traffic += Traffic(rows_filled=filled, bytes_fetched=filled * request.row_bytes)
        cost.rows_on_host = request.rows_on_host
        cost.num_requests = request.num_requests


def _size_of(subgraph: SampledSubgraph) -> int:
    arrays = (subgraph.vertices, subgraph.indptr, subgraph.src, subgraph.edge_ids)
    return sum(array.nbytes for array in arrays if array is not None)


def as_tensor(rows: NDArray[np.generic] | Tensor, dtype: str | None = None) -> Tensor:
    """Rows of a store as a tensor, over the same memory if they need no decoding.

    Args:
        rows: the rows as the store gives them, or as a tensor on any device.
        dtype: what the manifest calls their type; NumPy keeps bfloat16 in 16-bit integers, and
            int8 with a scale per row, which becomes float32, in bytes.
    """
    if isinstance(rows, Tensor):
        tensor = _decoded(rows) if dtype == INT8_SCALED else rows
    else:
        tensor = torch.from_numpy(decode_int8(rows) if dtype == INT8_SCALED else rows)
    return tensor.view(torch.bfloat16) if dtype == "bfloat16" else tensor


def _decoded(rows: Tensor) -> Tensor:
    """`decode_int8` on the device of the rows."""
    scales = rows[:, :SCALE_BYTES].contiguous().view(torch.float32)
    return rows[:, SCALE_BYTES:].contiguous().view(torch.int8).to(torch.float32) * scales
