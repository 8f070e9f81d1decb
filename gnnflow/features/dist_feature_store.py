"""Rows of one array of the whole graph, from this rank's view of it."""

import dataclasses
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gnnflow import _kernels
from gnnflow.array_types import ByteArray, Ids, Rows
from gnnflow.features.feature_store import FetchCounts, output_for
from gnnflow.features.row_plan import RowLayout, RowPlan
from gnnflow.features.wire import WIRE_DTYPES, Wire, WireDtype

if TYPE_CHECKING:
    from gnnflow.comm.calls import Call
    from gnnflow.features.row_transports import RemoteRows


class DistFeatureStore:
    """Hands out rows by global id: own rows, rows of mapped parts, rows of other ranks.

    All methods may be called from several threads.

    A cache sits beside it: `plan` says which rows other ranks own, the cache says which of those
    it holds and which to fetch (`fetch_async` of their ids), `RowPlan.take_from` names both as
    further sources, and `gather` collects all in one pass.
    """

    def __init__(
        self,
        name: str,
        *,
        offsets: Ids,
        sources: Sequence[tuple[int, Rows]],
        num_threads: int,
        remote: "RemoteRows | None" = None,
    ) -> None:
        """Joins the parts of an array; `DistGraph` does this.

        Args:
            name: name of the array.
            offsets: int64 `[num_parts + 1]`: first global id of each part.
            sources: part and rows of every part that can be read directly, this rank's first.
            num_threads: threads that copy rows.
            remote: the way to the rows of all other parts; None if there are none.
        """
        own_rows = sources[0][1]
        self.name = name
        self.dtype: np.dtype[Any] = own_rows.dtype
        self.row_shape: tuple[int, ...] = own_rows.shape[1:]
        self.row_bytes = self.dtype.itemsize * int(np.prod(self.row_shape, dtype=np.int64))
        self.num_sources = len(sources)
        """Number of sources at hand; those that a plan adds are numbered from here on."""
        self._layout = RowLayout.make(offsets, [part for part, _ in sources])
        self._all_at_hand = self._layout.all_at_hand()
        self._sources = [rows for _, rows in sources]
        self._num_threads = num_threads
        self._remote = remote
        self._counts = FetchCounts()
        self._counts_lock = threading.RLock()  # see `BufferPool`

    def fetch(self, global_ids: Ids, out: Rows | None = None) -> Rows:
        """Returns the rows of vertices; see `FeatureStore.fetch`.

        Raises:
            ValueError: if an id is not of the graph, or `out` cannot take the rows.
        """
        return self.fetch_async(global_ids, out).result()

    def fetch_async(
        self, global_ids: Ids, out: Rows | None = None, wire: Wire | None = None
    ) -> "FetchUnderWay":
        """Asks other ranks for rows and copies those at hand meanwhile.

        Args:
            global_ids: int64 `[num_rows]`, in any order.
            out: as in `fetch`; nobody else may use it before the result is there.
            wire: one of `wire_for`: how the rows travel, by default as the store was made.

        Returns:
            The fetch under way; its `result` has to be asked for.

        Raises:
            ValueError: if an id is not of the graph, or `out` cannot take the rows.
        """
        out = output_for(self.name, self.dtype, (len(global_ids), *self.row_shape), out)
        if self._all_at_hand:
            self._copy_by_id(global_ids, out)
            return FetchUnderWay(self, out)
        plan = self.plan(global_ids)
        if wire is None and self._remote is not None:
            wire = self._remote.wire
        call, received = self._ask(plan, out, wire)
        self._copy_at_hand(plan, out)
        return FetchUnderWay(self, out, plan, call, received, wire)

    def plan(self, global_ids: Ids) -> RowPlan:
        """Splits ids by where their rows are, for `gather`.

        Raises:
            ValueError: if an id is not of the graph.
        """
        return RowPlan.make(global_ids, self._layout)

    def gather(
        self, plan: RowPlan, further_sources: Sequence[Rows], out: Rows | None = None
    ) -> Rows:
        """Collects planned rows from the sources at hand and further ones, in one pass.

        Args:
            plan: a plan of this store, whose remote rows `take_from` gave other sources.
            further_sources: arrays `[num_source_rows, *row_shape]`, contiguous: sources
                `num_sources`, `num_sources + 1`, ... of the plan.
            out: as in `fetch`.

        Returns:
            The rows in the order of the planned ids.

        Raises:
            ValueError: if a row has no source, or `out` cannot take the rows.
        """
        out = output_for(self.name, self.dtype, (plan.num_rows, *self.row_shape), out)
        sources = [*self._sources, *further_sources]
        _kernels.gather_rows(
            out, sources, plan.source_of, plan.row_of, num_threads=self._num_threads
        )
        with self._counts_lock:
            self._count_at_hand(plan)
        return out

    @property
    def wire_row_bytes(self) -> int:
        """Bytes of a row as it crosses between ranks."""
        remote = self._remote
        return self.row_bytes if remote is None else remote.wire.row_bytes(self.row_bytes)

    @property
    def wire_dtype(self) -> WireDtype:
        """How rows travel between ranks if nothing else is said."""
        return "stored" if self._remote is None else WIRE_DTYPES[self._remote.wire.code]

    def wire_for(self, wire_dtype: WireDtype) -> Wire | None:
        """Returns how rows can travel as some type; None if they cannot, or never travel."""
        if self._remote is None or self._remote.has_one_wire:
            return None
        pieces = self._remote.wire.pieces
        wire = Wire.choose(wire_dtype, self.dtype, self.row_shape, pieces)
        return wire if wire.code or wire_dtype == "stored" else None

    def counts(self) -> FetchCounts:
        """Returns what fetches cost so far, as a copy."""
        with self._counts_lock:
            return dataclasses.replace(self._counts)

    def _ask(
        self, plan: RowPlan, out: Rows, wire: Wire | None
    ) -> "tuple[Call | None, ByteArray | None]":
        """Asks for the remote rows; returns the call and the buffer they go to if not `out`."""
        if not plan.num_remote or not self.row_bytes:
            return None, None
        remote = self._remote
        if remote is None or wire is None:
            raise ValueError(f"rows of '{self.name}' in other parts cannot be reached from here")
        wire_bytes = wire.row_bytes(self.row_bytes)
        received = None
        if wire.code == 0 and plan.remote_arrive_in_order():
            into = out.reshape(-1).view(np.uint8).reshape(plan.num_rows, wire_bytes)
        else:
            buffer = remote.pool.take(plan.num_remote * wire_bytes)
            into = received = buffer.reshape(plan.num_remote, wire_bytes)
        label = f"rows of '{self.name}'"
        call = remote.ask(label, plan.remote_rows, plan.remote_counts, into, wire)
        return call, received

    def _copy_by_id(self, global_ids: Ids, out: Rows) -> None:
        """Copies rows without a plan, which for short rows takes a tenth of the time."""
        layout = self._layout
        of_source = _kernels.gather_ids(
            out,
            self._sources,
            layout.source_of_part,
            layout.offsets,
            global_ids,
            num_threads=self._num_threads,
        )
        with self._counts_lock:
            self._counts.fetches += 1
            self._add_at_hand(of_source[0], sum(of_source))

    def _copy_at_hand(self, plan: RowPlan, out: Rows) -> None:
        if plan.num_remote == plan.num_rows:
            return
        copy = _kernels.copy_planned_rows if plan.num_remote else _kernels.gather_rows
        copy(out, self._sources, plan.source_of, plan.row_of, num_threads=self._num_threads)

    def _finish(
        self,
        plan: RowPlan,
        out: Rows,
        call: "Call | None",
        received: ByteArray | None,
        wire: Wire | None,
    ) -> None:
        """Waits for the remote rows and puts them where they belong."""
        if call is not None:
            call.result()
        if received is not None:
            assert self._remote is not None and wire is not None
            wire.place(out, plan.remote_positions, received, self._num_threads)
            self._remote.pool.give(received)
        self._count(plan, call, wire)

    def _count(self, plan: RowPlan, call: "Call | None", wire: Wire | None) -> None:
        with self._counts_lock:
            counts = self._counts
            self._count_at_hand(plan)
            counts.fetches += 1
            counts.rows += plan.num_remote
            counts.rows_remote += plan.num_remote
            if call is not None and wire is not None:
                wire_bytes = wire.row_bytes(self.row_bytes)
                counts.bytes_remote += plan.num_remote * wire_bytes
                counts.requests += len(call.requests)
                counts.wait_s += call.waited_s

    def _count_at_hand(self, plan: RowPlan) -> None:
        rows_inner = int(np.count_nonzero(plan.source_of == 0))
        self._add_at_hand(rows_inner, int(np.count_nonzero(plan.source_of < self.num_sources)))

    def _add_at_hand(self, rows_inner: int, at_hand: int) -> None:
        self._counts.rows += at_hand
        self._counts.rows_inner += rows_inner
        self._counts.rows_shared += at_hand - rows_inner


class FetchUnderWay:
    """A fetch whose remote rows may still be on their way."""

    def __init__(
        self,
        store: DistFeatureStore,
        out: Rows,
        plan: RowPlan | None = None,
        call: "Call | None" = None,
        received: ByteArray | None = None,
        wire: Wire | None = None,
    ) -> None:
        """Takes what `fetch_async` began; without a plan it is done."""
        self.num_remote = 0 if plan is None else plan.num_remote
        """Rows that other ranks send."""
        self.num_requests = 0 if plan is None else plan.num_owners
        """Ranks asked for them."""
        self._store = store
        self._plan = plan
        self._out = out
        self._call = call
        self._received = received
        self._wire = wire

    def done(self) -> bool:
        """Says whether `result` would return without waiting."""
        return self._call is None or self._call.done()

    def result(self) -> Rows:
        """Waits for the rows and returns them, in the order of the ids; a time-out ends the job."""
        plan, self._plan = self._plan, None
        if plan is not None:
            self._store._finish(plan, self._out, self._call, self._received, self._wire)
            self._received = None
        return self._out
