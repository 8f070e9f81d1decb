"""Rows of other ranks: how they are asked for, in messages or by reading their memory."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from gnnflow import _kernels
from gnnflow.array_types import ByteArray
from gnnflow.comm.calls import Call, Request
from gnnflow.comm.messages import BufferPool
from gnnflow.features.wire import Wire, rows_per_part

if TYPE_CHECKING:
    from gnnflow.comm.exchange import ExchangeService

# More ids than this go in several requests to the same rank.
_REQUEST_ROWS = 1 << 24


class RemoteRows(Protocol):
    """A way to the rows of one array on other ranks."""

    @property
    def wire(self) -> Wire:
        """What rows look like on the way, if nothing else is said."""

    @property
    def has_one_wire(self) -> bool:
        """Whether rows can travel in no other form."""

    @property
    def pool(self) -> BufferPool:
        """Memory for rows that arrive."""

    def ask(
        self,
        label: str,
        rows: npt.NDArray[np.int64],
        counts: npt.NDArray[np.int64],
        into: ByteArray,
        wire: Wire,
    ) -> Call:
        """Asks for rows.

        Args:
            label: what is asked for, in words, for messages about time-outs.
            rows: int64 `[num_rows]`: rows within the owners' parts, by owner.
            counts: int64 `[num_parts]`: rows of each owner.
            into: uint8 `[num_rows, row_bytes]`: where they go, in this order.
            wire: how they travel.

        Returns:
            The call under way.
        """


class MessageRows:
    """Asks the owners, who answer with messages."""

    has_one_wire = False

    def __init__(
        self, service: "ExchangeService", name: str, wire: Wire, index_dtype: npt.DTypeLike
    ) -> None:
        """Takes what the rows are served as.

        Args:
            service: carries questions and answers.
            name: what the owners serve the rows as.
            wire: what rows look like on the way.
            index_dtype: int32 if every part has fewer than 2^31 vertices, else int64.
        """
        self.wire = wire
        self.pool = service.pool
        self._service = service
        self._name = name
        self._index_dtype = np.dtype(index_dtype)

    def ask(
        self,
        label: str,
        rows: npt.NDArray[np.int64],
        counts: npt.NDArray[np.int64],
        into: ByteArray,
        wire: Wire,
    ) -> Call:
        """Asks for rows; see `RemoteRows.ask`."""
        owners = np.flatnonzero(counts).tolist()
        requests = _requests(owners, rows, counts, into, wire, self._index_dtype)
        return self._service.call(self._name, label, requests)


class WindowRows:
    """Reads the owners' memory, one-sided: as its own where MPI maps it, else by MPI's gets."""

    has_one_wire = True

    def __init__(
        self,
        service: "ExchangeService",
        name: str,
        own_rows: npt.NDArray[Any],
        wire: Wire,
        num_threads: int = 1,
    ) -> None:
        """Opens a window on this rank's rows; all ranks do so together.

        Args:
            service: makes the window and the transfers.
            name: name of the window.
            own_rows: `[num_rows, ...]`, contiguous; copied, as they look on the way.
            wire: what rows look like on the way.
            num_threads: threads that copy rows from mapped memory.
        """
        self.wire = wire
        self.pool = service.pool
        self._service = service
        self._name = name
        row_bytes = own_rows.dtype.itemsize * int(np.prod(own_rows.shape[1:], dtype=np.int64))
        every_row = np.arange(len(own_rows))
        self._num_threads = num_threads
        self._readable = service.open_window(
            name,
            len(own_rows),
            wire.row_bytes(row_bytes),
            lambda memory: wire.gather(memory, own_rows, every_row, num_threads=1),
        )

    def ask(
        self,
        label: str,
        rows: npt.NDArray[np.int64],
        counts: npt.NDArray[np.int64],
        into: ByteArray,
        wire: Wire,
    ) -> Call:
        """Reads rows; see `RemoteRows.ask`. They lie ready in one form."""
        assert wire is self.wire
        ends = np.cumsum(counts)
        far = []
        for owner in np.flatnonzero(counts).tolist():
            if owner in self._readable:
                wanted = slice(ends[owner] - counts[owner], ends[owner])
                _kernels.gather(
                    into[wanted], self._readable[owner], rows[wanted], num_threads=self._num_threads
                )
            else:
                far.append(owner)
        requests = _requests(far, rows, counts, into, wire, np.dtype(np.int32))
        return self._service.get(self._name, label, requests)


def _requests(
    owners: Sequence[int],
    rows: npt.NDArray[np.int64],
    counts: npt.NDArray[np.int64],
    into: ByteArray,
    wire: Wire,
    index_dtype: np.dtype[Any],
) -> list[Request]:
    """Writes the questions for rows of other ranks.

    Args:
        owners: whom to ask.
        rows: int64 `[num_rows]`: rows within the owners' parts, by owner.
        counts: int64 `[num_parts]`: rows of each owner.
        into: uint8 `[num_rows, row_bytes]`: where the rows go, by owner; `row_bytes` at least 1.
        wire: how they travel.
        index_dtype: int32 if every part has fewer than 2^31 vertices, else int64.
    """
    requests = []
    step = rows_per_part(into.shape[1])
    ends = np.cumsum(counts)
    for owner in owners:
        owner_end = int(ends[owner])
        start = owner_end - int(counts[owner])
        while start < owner_end:
            end = min(start + _REQUEST_ROWS, owner_end)
            parts = [
                into[first : min(first + step, end)].reshape(-1)
                for first in range(start, end, step)
            ]
            wanted = rows[start:end].astype(index_dtype)
            requests.append(Request(owner, wire.params, (wanted,), parts))
            start = end
    return requests
