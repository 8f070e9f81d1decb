"""Rows of one array of the whole graph, from this rank's view of it."""

import dataclasses
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gnnflow import _kernels
from gnnflow.comm.buffers import ByteArray
from gnnflow.features.feature_store import FetchCounts, IdArray, RowCache, Rows, output_for
from gnnflow.features.row_plan import RowLayout, RowPlan
from gnnflow.features.row_service import row_requests

if TYPE_CHECKING:
    from gnnflow.comm.calls import Call
    from gnnflow.comm.exchange import ExchangeService


class DistFeatureStore:
    """Hands out rows by global id: own rows, rows of mapped parts, cached rows, remote rows.

    `fetch` may be called from several threads. A fetch that is under way has copied all rows at
    hand, so a cache may change as soon as `fetch_async` has returned.
    """

    def __init__(
        self,
        name: str,
        *,
        offsets: IdArray,
        sources: Sequence[tuple[int, Rows]],
        num_threads: int,
        service: "ExchangeService | None" = None,
        service_name: str = "",
    ) -> None:
        """Joins the parts of an array; `DistGraph` does this.

        Args:
            name: name of the array.
            offsets: int64 `[num_parts + 1]`: first global id of each part.
            sources: part and rows of every part that can be read directly, this rank's first.
            num_threads: threads that copy rows.
            service: whom to ask for the rows of all other parts.
            service_name: what they are served as.
        """
        own_rows = sources[0][1]
        self.name = name
        self.dtype: np.dtype[Any] = own_rows.dtype
        self.row_shape: tuple[int, ...] = own_rows.shape[1:]
        self.row_bytes = self.dtype.itemsize * int(np.prod(self.row_shape, dtype=np.int64))
        self.cache: RowCache | None = None
        """Rows of other ranks that are kept here, asked before they are; None for no cache."""
        self._layout = RowLayout.make(offsets, [part for part, _ in sources])
        self._sources = [rows for _, rows in sources]
        self._num_threads = num_threads
        self._service = service
        self._service_name = service_name
        fits = int(np.diff(offsets).max(initial=0)) < 1 << 31
        self._index_dtype: np.dtype[Any] = np.dtype(np.int32 if fits else np.int64)
        self._counts = FetchCounts()
        self._counts_lock = threading.Lock()

    def fetch(self, global_ids: IdArray, out: Rows | None = None) -> Rows:
        """Returns the rows of vertices; see `FeatureStore.fetch`.

        Raises:
            ValueError: if an id is not of the graph, or `out` cannot take the rows.
        """
        return self.fetch_async(global_ids, out).result()

    def fetch_async(self, global_ids: IdArray, out: Rows | None = None) -> "FetchUnderWay":
        """Asks other ranks for rows and copies those at hand meanwhile.

        Args:
            global_ids: int64 `[num_rows]`, in any order.
            out: as in `fetch`; nobody else may use it before the result is there.

        Returns:
            The fetch under way; its `result` has to be asked for.

        Raises:
            ValueError: if an id is not of the graph, or `out` cannot take the rows.
        """
        out = output_for(self.name, self.dtype, (len(global_ids), *self.row_shape), out)
        plan = RowPlan.make(global_ids, self._layout)
        sources = list(self._sources)
        if self.cache is not None and plan.num_remote:
            plan.take_from_cache(global_ids, self.cache, len(sources))
            sources.append(self.cache.rows)
        call, received = self._ask(plan, out)
        if plan.num_remote < plan.num_rows and self.row_bytes:
            _kernels.copy_planned_rows(
                out, sources, plan.source_of, plan.row_of, num_threads=self._num_threads
            )
        return FetchUnderWay(self, plan, out, call, received)

    def counts(self) -> FetchCounts:
        """Returns what fetches cost so far, as a copy."""
        with self._counts_lock:
            return dataclasses.replace(self._counts)

    def _ask(self, plan: RowPlan, out: Rows) -> "tuple[Call | None, ByteArray | None]":
        """Asks for the remote rows; returns the call and the buffer they go to if not `out`."""
        if not plan.num_remote or not self.row_bytes:
            return None, None
        if self._service is None:
            raise ValueError(f"rows of '{self.name}' in other parts cannot be reached from here")
        received = None
        into = out.reshape(-1).view(np.uint8)
        if not plan.remote_arrive_in_order():
            into = received = self._service.pool.take(plan.num_remote * self.row_bytes)
        requests = row_requests(
            plan.remote_rows(), plan.remote_counts, into, self.row_bytes, self._index_dtype
        )
        label = f"rows of '{self.name}'"
        return self._service.call(self._service_name, label, requests), received

    def _finish(
        self, plan: RowPlan, out: Rows, call: "Call | None", received: ByteArray | None
    ) -> None:
        """Waits for the remote rows and puts them where they belong."""
        if call is not None:
            call.result()
        if received is not None:
            assert self._service is not None
            rows = received.reshape(plan.num_remote, self.row_bytes)
            _kernels.place_rows(out, plan.remote_positions, rows, num_threads=self._num_threads)
            self._service.pool.give(received)
        self._count(plan, call)

    def _count(self, plan: RowPlan, call: "Call | None") -> None:
        rows_inner = int(np.count_nonzero(plan.source_of == 0))
        with self._counts_lock:
            counts = self._counts
            counts.fetches += 1
            counts.rows += plan.num_rows
            counts.rows_inner += rows_inner
            counts.rows_cached += plan.num_cached
            counts.rows_remote += plan.num_remote
            counts.rows_shared += plan.num_rows - rows_inner - plan.num_cached - plan.num_remote
            counts.bytes_remote += plan.num_remote * self.row_bytes
            if call is not None:
                counts.requests += len(call.requests)
                counts.wait_s += call.waited_s


class FetchUnderWay:
    """A fetch whose remote rows may still be on their way."""

    def __init__(
        self,
        store: DistFeatureStore,
        plan: RowPlan,
        out: Rows,
        call: "Call | None",
        received: ByteArray | None,
    ) -> None:
        """Takes what `fetch_async` began."""
        self.plan = plan
        """Where each row comes from; rows of `plan.remote_positions` came from other ranks."""
        self._store = store
        self._out = out
        self._call = call
        self._received = received
        self._finished = False

    def done(self) -> bool:
        """Says whether `result` would return without waiting."""
        return self._call is None or self._call.done()

    def result(self) -> Rows:
        """Waits for the rows and returns them, in the order of the ids; a time-out ends the job."""
        if not self._finished:
            self._finished = True
            self._store._finish(self.plan, self._out, self._call, self._received)
            self._received = None
        return self._out
