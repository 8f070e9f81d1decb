"""One-sided access to rows of other ranks: MPI windows, for fabrics that read remote memory."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from gnnflow.comm.calls import Call, Request
from gnnflow.comm.collectives import Steps
from gnnflow.comm.mailbox import Outstanding
from gnnflow.comm.mpi_library import MPI

FillRows = Callable[[npt.NDArray[np.uint8]], None]
"""Writes all rows of this rank into uint8 `[num_rows, row_bytes]`."""


class RowWindows:
    """Rows that other ranks may read without asking; used by the communication thread."""

    def __init__(self, outstanding: Outstanding) -> None:
        """Takes the set to which transfers are added."""
        self._outstanding = outstanding
        self._windows: dict[str, tuple[MPI.Win, int]] = {}

    def open(
        self, comm: MPI.Intracomm, name: str, num_rows: int, row_bytes: int, fill: FillRows
    ) -> Steps:
        """Opens a window of rows on all ranks, as steps of a collective operation.

        The rows are copied: hardware reads memory that MPI has registered, not mapped files.
        Returns the windows that this rank may read as its own memory, by rank.

        Args:
            comm: the ranks.
            name: name of the window.
            num_rows: rows of this rank.
            row_bytes: bytes of a row, the same on all ranks, at least 1.
            fill: writes the rows.
        """
        # Making a window waits for all ranks with no time-out; after this they are all here.
        yield comm.Ibarrier()
        window = MPI.Win.Allocate(num_rows * row_bytes, 1, comm=comm)
        window.Set_errhandler(MPI.ERRORS_RETURN)
        window.Lock_all()
        memory = np.frombuffer(cast(Any, window.tomemory()), dtype=np.uint8)
        fill(memory.reshape(num_rows, row_bytes))
        window.Sync()
        self._windows[name] = (window, row_bytes)
        yield comm.Ibarrier()
        return _readable(window, comm, row_bytes)

    def start(self, call: Call, name: str) -> None:
        """Begins to read the rows that a call's requests name, part by part."""
        window, row_bytes = self._windows[name]
        row_type = MPI.BYTE.Create_contiguous(row_bytes)
        for position, request in enumerate(call.requests):
            assert request.into is not None
            (rows,) = request.arrays
            arrived = partial(call.part_arrived, position)
            for part, wanted in zip(request.into, _cut(rows, request, row_bytes), strict=True):
                picked = row_type.Create_indexed_block(1, cast(Sequence[int], wanted))
                picked.Commit()
                transfer = window.Rget(part, request.peer, [0, 1, picked])
                picked.Free()
                self._outstanding.add(transfer, arrived)
        row_type.Free()

    def close(self) -> None:
        """Closes all windows; all ranks do so together, with no transfer under way."""
        for window, _ in self._windows.values():
            window.Unlock_all()
            window.Free()
        self._windows.clear()


def _readable(
    window: MPI.Win, comm: MPI.Intracomm, row_bytes: int
) -> dict[int, npt.NDArray[np.uint8]]:
    """Returns the rows of ranks whose windows MPI has mapped into this process too."""
    readable = {}
    for peer in range(comm.size):
        try:
            memory, _ = window.Shared_query(peer)
        except MPI.Exception:  # an MPI before 4.1 answers for one kind of window only
            return {}
        rows = np.frombuffer(cast(Any, memory), dtype=np.uint8)
        if peer != comm.rank and rows.size:
            readable[peer] = rows.reshape(-1, row_bytes)
    return readable


def _cut(
    rows: npt.NDArray[Any], request: Request, row_bytes: int
) -> Sequence[npt.NDArray[np.int32]]:
    """Cuts the rows of a request into those of each of its parts."""
    assert request.into is not None
    ends = np.cumsum([part.size // row_bytes for part in request.into])
    return np.split(rows.astype(np.int32, copy=False), ends[:-1])
