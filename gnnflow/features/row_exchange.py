"""Rows that ranks hand each other by id: how they are served and how stores reach them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow.array_types import ByteArray, Ids
from gnnflow.comm import Context, Transport
from gnnflow.comm.messages import BufferPool, Message
from gnnflow.features.dist_feature_store import DistFeatureStore
from gnnflow.features.row_transports import MessageRows, RemoteRows, WindowRows
from gnnflow.features.wire import Wire, WireDtype, rows_per_part

_INT32_ROWS = 1 << 31


class RowAnswers:
    """Answers questions for rows of one array of this rank's part."""

    def __init__(
        self, source: Callable[[], npt.NDArray[Any]], pool: BufferPool, num_threads: int
    ) -> None:
        """Takes the rows of the part.

        Args:
            source: returns them, `[num_vertices, ...]`, contiguous.
            pool: where the buffers of the parts come from.
            num_threads: threads that gather one part.
        """
        self._source = source
        self._pool = pool
        self._num_threads = num_threads

    def __call__(self, message: Message) -> Iterator[ByteArray]:
        """Yields the rows asked for, part by part, as the question's wire code says."""
        source = self._source()
        wire = Wire(*message.params)
        row_bytes = wire.row_bytes(source.nbytes // max(1, len(source)))
        rows = message.arrays[0].astype(np.int64, copy=False)
        step = rows_per_part(row_bytes)
        for start in range(0, len(rows), step):
            wanted = rows[start : start + step]
            part = self._pool.take(len(wanted) * row_bytes)
            wire.gather(part.reshape(len(wanted), row_bytes), source, wanted, self._num_threads)
            yield part


class RowExchange:
    """Serves rows of this rank under names and makes stores over the rows of all ranks."""

    def __init__(self, ctx: Context, scope: str) -> None:
        """Takes the job and what goes before the names of this graph's rows."""
        self._ctx = ctx
        self._scope = f"{scope}rows/"

    def serve(self, name: str, rows: Callable[[], npt.NDArray[Any]]) -> None:
        """Answers other ranks' questions for rows.

        Args:
            name: what they ask for.
            rows: returns this rank's rows, `[num_rows, ...]`, contiguous.
        """
        service = self._ctx.service
        if service is not None:
            answers = RowAnswers(rows, service.pool, self._ctx.threads)
            service.serve_parts(self._scope + name, answers)

    def withdraw(self, name: str) -> None:
        """Ends what `serve` began."""
        if self._ctx.service is not None:
            self._ctx.service.withdraw(self._scope + name)

    def store(
        self,
        name: str,
        offsets: Ids,
        sources: Sequence[tuple[int, npt.NDArray[Any]]],
        *,
        wire_dtype: WireDtype = "stored",
        transport: Transport = "alltoall",
        wire_pieces: int = 1,
    ) -> DistFeatureStore:
        """Makes a store over rows that all ranks serve; for `rma` all ranks do so together.

        Args:
            name: what the rows are served as.
            offsets: int64 `[num_ranks + 1]`: first id of each rank's rows.
            sources: rank and rows of every rank whose rows can be read directly, this one first.
            wire_dtype: how float32 rows travel.
            transport: whether rows are read one-sided (`rma`) or asked for.
            wire_pieces: into how many pieces a row is cut on the way, each with a scale of its own.
        """
        own_rows = sources[0][1]
        return DistFeatureStore(
            name,
            offsets=offsets,
            sources=sources,
            num_threads=self._ctx.threads,
            remote=self._remote(name, offsets, own_rows, wire_dtype, transport, wire_pieces),
        )

    def _remote(
        self,
        name: str,
        offsets: Ids,
        own_rows: npt.NDArray[Any],
        wire_dtype: WireDtype,
        transport: Transport,
        wire_pieces: int,
    ) -> RemoteRows | None:
        service = self._ctx.service
        if service is None:
            return None
        wire = Wire.choose(wire_dtype, own_rows.dtype, own_rows.shape[1:], wire_pieces)
        fits = int(np.diff(offsets).max()) < _INT32_ROWS
        if transport == "rma" and fits and 0 not in own_rows.shape[1:]:
            scoped, threads = self._scope + name, self._ctx.threads
            return WindowRows(service, scoped, own_rows, wire, threads)
        return MessageRows(service, self._scope + name, wire, np.int32 if fits else np.int64)
