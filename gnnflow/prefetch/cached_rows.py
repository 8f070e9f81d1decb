"""Rows of one array for minibatches under way: from the halo cache, and from other ranks."""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gnnflow.array_types import Ids, Rows
from gnnflow.cache.halo_cache import HaloCache
from gnnflow.cache.transfer import Decide, Transfer
from gnnflow.comm.messages import BufferPool
from gnnflow.features import DistFeatureStore
from gnnflow.prefetch.host_rows import HostRows
from gnnflow.prefetch.row_memory import MemoryMeter, RecycledRows
from gnnflow.prefetch.row_request import RowRequest, SharedFetch

if TYPE_CHECKING:
    import torch

    from gnnflow.prefetch.device_rows import DeviceRows


class CachedRows:
    """Plans, asks for and gathers rows of minibatches, in the protocol of the halo cache.

    `announce`, `plan` and `ask` belong to one thread, `gather` and `abandon` to another. Rows that
    this rank can read directly are never cached.
    """

    def __init__(
        self,
        store: DistFeatureStore,
        *,
        cache: HaloCache | None = None,
        transfer: Transfer | None = None,
        decide: Decide | None = None,
        rows_filled_at_start: int = 0,
        host_rows: HostRows | None = None,
        early_bytes: int = 0,
    ) -> None:
        """Joins store and cache.

        Args:
            store: The rows of all ranks.
            cache: Keeps remote rows; None fetches every one of them.
            transfer: How far ahead minibatches are announced to the cache, and how rows travel;
                read anew for every plan and exchange.
            decide: When to replace rows of the cache and how much; always by default.
            rows_filled_at_start: Rows that were fetched to fill the cache.
            host_rows: Remote rows that the ranks of this machine hold between them.
            early_bytes: Memory of minibatches that are asked for and not gathered, up to which
                further ones may be asked for when nothing is on its way.
        """
        self._early_bytes = early_bytes
        self._latest: SharedFetch | None = None
        self._asked = MemoryMeter()
        self.host_rows = host_rows
        self.store = store
        self.cache = cache
        self.decide: Decide = decide or (lambda cache, minibatch: 1.0)
        self.clock = WaitClock()
        """Told by the training loop how long it waits."""
        self.latest_ids: Ids = np.zeros(0, dtype=np.int64)
        """Remote rows of the minibatch that was planned last."""
        self.known_s = (0.0, 0.0)
        """Seconds of waiting and of everything that became known before the latest plan."""
        self.rows_filled_at_start = rows_filled_at_start
        self.transfer = transfer or Transfer(
            wire_dtype=store.wire_dtype, stored_row_bytes=store.row_bytes
        )
        self._waiting_bytes = 0
        self._num_planned = 0
        self._pool = BufferPool()
        self._recycled = RecycledRows()
        self._on_device: DeviceRows | None = None
        self._books = threading.Lock()  # held while the cache changes what it knows

    @property
    def cache_bytes(self) -> int:
        """Memory of the cache: its rows and its books."""
        shared = 0 if self.host_rows is None else self.host_rows.num_bytes
        if self.cache is None:
            return shared
        return shared + self.cache.rows_bytes + self.cache.bookkeeping_bytes

    @property
    def peak_bytes(self) -> int:
        """The most memory that rows of minibatches under way took."""
        staging = 0 if self._on_device is None else self._on_device.staging_bytes
        return self._pool.peak_bytes + self._recycled.peak_bytes + staging

    def pin_memory(self) -> None:
        """From now on gathers rows into page-locked memory, for a GPU to copy from."""
        self._recycled = RecycledRows(pin_memory=True)

    def use_device(self, device: "torch.device") -> None:
        """From now on keeps the cache's rows on a device and gathers minibatches there."""
        from gnnflow.prefetch.device_rows import DeviceRows  # replays do without torch

        self._on_device = DeviceRows(self.store, device, self.cache)

    def cached_vertices(self) -> Ids:
        """Global ids of the vertices in the cache, ascending, from any thread."""
        if self.cache is None:
            return np.zeros(0, dtype=np.int64)
        with self._books:
            return np.sort(self.cache.cached_ids())

    def request(self, vertices: Ids, subgraph_bytes: int = 0) -> RowRequest:
        """Starts the way of a minibatch.

        Args:
            vertices: int64 `[num_vertices]`, distinct: whose rows are wanted.
            subgraph_bytes: Size of the sampled minibatch.
        """
        plan = self.store.plan(vertices)
        positions = plan.remote_positions
        ids = vertices[positions]
        if self.host_rows is None:
            return RowRequest(plan, ids, positions, subgraph_bytes)
        numbers = self.host_rows.find(ids)
        found = numbers >= 0
        self.host_rows.take(plan, positions[found], numbers[found], self.store.num_sources + 2)
        return RowRequest(
            plan,
            ids[~found],
            positions[~found],
            subgraph_bytes,
            rows_on_host=int(np.count_nonzero(found)),
        )

    def wants_more(self) -> bool:
        """Tells whether to announce a further minibatch before planning the next one."""
        cache = self.cache
        return cache is not None and self.transfer.window.wants_more(cache, self._waiting_bytes)

    def announce(self, request: RowRequest) -> None:
        """Tells the cache what a minibatch will ask for; in the order of the minibatches."""
        if self.cache is not None:
            with self._books:
                self.cache.announce(request.remote_ids)
            self._waiting_bytes += request.subgraph_bytes

    def plan(self, request: RowRequest) -> None:
        """Decides what to fetch for the oldest announced minibatch."""
        cache = self.cache
        if cache is None:
            request.fetch_ids = request.remote_ids
        else:
            self.known_s = request.known_s = self.clock.take()
            fraction = self.decide(cache, self._num_planned)
            with self._books:
                request.step = cache.plan(
                    request.remote_ids, replace=fraction > 0, fraction=fraction or 1.0
                )
            request.fetch_ids = request.step.fetch_ids
            self.latest_ids = request.remote_ids
            self._waiting_bytes -= request.subgraph_bytes
        request.wire_dtype = self.transfer.wire_dtype
        self._num_planned += 1

    def ask(self, requests: Sequence[RowRequest]) -> None:
        """Asks other ranks for the rows of planned minibatches, all in one exchange."""
        store = self.store
        ids = requests[0].fetch_ids
        if len(requests) > 1:
            ids = np.concatenate([request.fetch_ids for request in requests])
        buffer = self._pool.take(len(ids) * store.row_bytes)
        rows = buffer.view(store.dtype).reshape(len(ids), *store.row_shape)
        wire = None
        if requests[0].wire_dtype != store.wire_dtype:
            wire = store.wire_for(requests[0].wire_dtype)
        row_bytes = store.wire_row_bytes if wire is None else wire.row_bytes(store.row_bytes)
        fetch = store.fetch_async(ids, rows, wire) if len(ids) else None
        shared = self._latest = SharedFetch(fetch, rows, len(requests))
        if fetch is not None:
            requests[0].num_requests = fetch.num_requests
        first_row = 0
        for request in requests:
            request.fetch = shared
            request.row_bytes = row_bytes
            request.first_row = first_row
            first_row += len(request.fetch_ids)
            self._asked.add(self._size_of(request))

    def may_ask_early(self) -> bool:
        """Tells whether nothing is on its way and little waits to be gathered."""
        idle = self._latest is None or self._latest.done()
        return idle and self._asked.held_bytes < self._early_bytes

    def gather(self, request: RowRequest) -> "Rows | torch.Tensor":
        """Waits for the rows of the oldest planned minibatch, collects all and feeds the cache.

        Returns:
            `[num_vertices, *row_shape]`, the rows in the order of the vertices; a tensor on the
            device if one is used.
        """
        store, plan, step = self.store, request.plan, request.step
        fetched = request.fetched()
        if self._on_device is not None:
            if self.cache is not None and step is not None:
                self.cache.check_turn(step)
            shares = () if self.host_rows is None else self.host_rows.shares
            gathered = self._on_device.gather(plan, request.remote_positions, step, fetched, shares)
            self._settle(request, fetched)
            return gathered
        further = [fetched, fetched]
        misses = request.remote_positions
        if self.cache is not None and step is not None:
            further = [fetched, self.cache.rows_for(step)]
            is_hit = step.slots >= 0
            hits, misses = misses[is_hit], misses[~is_hit]
            plan.take_from(store.num_sources + 1, hits, step.slots[is_hit])
        plan.take_from(store.num_sources, misses, np.arange(len(misses)))
        if self.host_rows is not None:
            further += self.host_rows.shares
        out = self._recycled.take((plan.num_rows, *store.row_shape), store.dtype)
        store.gather(plan, further, out)
        self._settle(request, fetched)
        return out

    def abandon(self, request: RowRequest) -> None:
        """Waits for rows that nobody wants any more, so that the cache has what it counts on."""
        if not request.settled:
            self._settle(request, request.fetched())

    def retract(self) -> None:
        """Forgets minibatches that were announced and will not be planned."""
        if self.cache is not None:
            with self._books:
                self.cache.retract()
            self._waiting_bytes = 0

    def _settle(self, request: RowRequest, fetched: Rows) -> None:
        if self.cache is not None and request.step is not None:
            if self._on_device is not None:
                self._on_device.admit(request.step, fetched)
            self.cache.commit(request.step, fetched)
        request.settled = True
        self._asked.add(-self._size_of(request))
        shared, request.fetch = request.fetch, None
        assert shared is not None
        if shared.release():
            self._pool.give(shared.rows())

    def _size_of(self, request: RowRequest) -> int:
        return request.subgraph_bytes + len(request.fetch_ids) * self.store.row_bytes


class WaitClock:
    """Adds up seconds in one thread until another takes them."""

    def __init__(self) -> None:
        """Starts at nothing."""
        self._lock = threading.Lock()
        self._wait_s = 0.0
        self._elapsed_s = 0.0

    def add(self, wait_s: float, elapsed_s: float) -> None:
        """Notes a step of training.

        Args:
            wait_s: Seconds that it waited for its minibatch.
            elapsed_s: Seconds that it took altogether, the waiting included.
        """
        with self._lock:
            self._wait_s += wait_s
            self._elapsed_s += elapsed_s

    def take(self) -> tuple[float, float]:
        """Returns the sums of `wait_s` and `elapsed_s` since they were last taken."""
        with self._lock:
            taken = self._wait_s, self._elapsed_s
            self._wait_s = self._elapsed_s = 0.0
        return taken
