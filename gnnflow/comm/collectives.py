"""Collective operations, written as generators that yield the MPI request to wait for next.

The communication thread runs them: between two yields it does other work.
"""

import json
import threading
from collections import deque
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow.array_types import ByteArray
from gnnflow.comm.mailbox import Outstanding
from gnnflow.comm.messages import message_parts
from gnnflow.comm.mpi_library import MPI
from gnnflow.errors import CommError

_LIMIT_BYTES = 1 << 30  # MPI counts with 31 bits

Steps = Generator[MPI.Request, None, Any]


class Collective:
    """A collective operation under way, from the side of the thread that waits for it."""

    def __init__(self, label: str, steps: Steps, deadline: float) -> None:
        """Takes the words for messages, the steps to run and when their end is overdue."""
        self.label = label
        self.steps = steps
        self.deadline = deadline
        self._value: Any = None
        self._done = threading.Event()

    def finish(self, value: Any) -> None:
        """Wakes the waiting thread with the result."""
        self._value = value
        self._done.set()

    def result(self) -> Any:
        """Waits for the result; a time-out ends the job."""
        self._done.wait()
        return self._value


class CollectiveQueue:
    """Runs collective operations one after the other, in the order that all ranks have in common.

    For the communication thread alone.
    """

    def __init__(self, outstanding: Outstanding) -> None:
        """Takes what completes the requests of the communication thread."""
        self._outstanding = outstanding
        self._waiting: deque[Collective] = deque()
        self.under_way: Collective | None = None
        """The operation whose steps are being taken."""
        self.num_begun = 0
        """Operations begun so far."""

    def add(self, operation: Collective) -> None:
        """Lets an operation run after those before it."""
        self._waiting.append(operation)

    def begin(self) -> bool:
        """Begins the next operation if none is under way; says whether it did."""
        if self.under_way is not None or not self._waiting:
            return False
        self.under_way = self._waiting.popleft()
        self.num_begun += 1
        self._next_step()
        return True

    def _next_step(self) -> None:
        assert self.under_way is not None
        try:
            request = next(self.under_way.steps)
        except StopIteration as end:
            self.under_way.finish(end.value)
            self.under_way = None
        else:
            self._outstanding.add(request, self._next_step)


def barrier(comm: MPI.Intracomm) -> Steps:
    """Waits for all ranks."""
    yield comm.Ibarrier()


def allreduce_sum(comm: MPI.Intracomm, values: npt.NDArray[Any]) -> Steps:
    """Adds arrays of the same shape and dtype."""
    total = np.empty_like(values)
    if values.size:
        yield comm.Iallreduce(values, total, op=MPI.SUM)
    return total


def allgather_array(
    comm: MPI.Intracomm, values: npt.NDArray[Any], limit_bytes: int = _LIMIT_BYTES
) -> Steps:
    """Gathers arrays of any shape and dtype, one of each rank; above the limit one by one."""
    about = json.dumps([values.dtype.str, values.shape]).encode()
    gathered = []
    for text in (yield from allgather_bytes(comm, about)):
        dtype, shape = json.loads(text)
        gathered.append(np.empty(shape, dtype=np.dtype(dtype)))
    sizes = np.array([array.nbytes for array in gathered])
    if sizes.sum() <= limit_bytes:
        everything = yield from _allgather_flat(comm, _as_bytes(values), sizes)
        for array, part in zip(gathered, everything, strict=True):
            _as_bytes(array)[:] = part
        return gathered
    gathered[comm.rank][...] = values
    for root, array in enumerate(gathered):
        flat = _as_bytes(array)
        for start, end in message_parts(flat.size, limit_bytes):
            yield comm.Ibcast(flat[start:end], root)
    return gathered


def exchange_arrays(comm: MPI.Intracomm, arrays: Sequence[npt.NDArray[Any]]) -> Steps:
    """Sends a one-dimensional array of one dtype to every rank."""
    dtype = arrays[0].dtype
    sizes = np.array([array.nbytes for array in arrays], dtype=np.int64)
    sizes_here = np.empty_like(sizes)
    yield comm.Ialltoall(sizes, sizes_here)
    ends, ends_here = np.cumsum(sizes), np.cumsum(sizes_here)
    outgoing = _as_bytes(np.concatenate(arrays))
    incoming = np.empty(ends_here[-1], dtype=np.uint8)
    yield comm.Ialltoallv(
        [outgoing, (sizes, ends - sizes), MPI.BYTE],
        [incoming, (sizes_here, ends_here - sizes_here), MPI.BYTE],
    )
    starts_here = ends_here - sizes_here
    return [
        incoming[start:end].view(dtype) for start, end in zip(starts_here, ends_here, strict=True)
    ]


def allgather_bytes(comm: MPI.Intracomm, data: bytes) -> Generator[MPI.Request, None, list[bytes]]:
    """Gathers byte strings of any length, together below 2 GiB."""
    sizes = np.empty(comm.size, dtype=np.int64)
    yield comm.Iallgather(np.array([len(data)], dtype=np.int64), sizes)
    parts = yield from _allgather_flat(comm, np.frombuffer(data, dtype=np.uint8), sizes)
    return [part.tobytes() for part in parts]


def allgather_json(comm: MPI.Intracomm, value: Any) -> Steps:
    """Gathers a value of each rank as JSON."""
    gathered = yield from allgather_bytes(comm, json.dumps(value).encode())
    return [json.loads(text) for text in gathered]


def broadcast_json(comm: MPI.Intracomm, value: Any, root: int) -> Steps:
    """Sends a value from one rank to all as JSON."""
    data = json.dumps(value).encode() if comm.rank == root else b""
    length = np.array([len(data)], dtype=np.int64)
    yield comm.Ibcast(length, root)
    content = np.frombuffer(data, dtype=np.uint8).copy() if data else np.empty(length[0], np.uint8)
    yield comm.Ibcast(content, root)
    return json.loads(content.tobytes())


def check_sum(values: npt.NDArray[Any]) -> None:
    """Checks that MPI can add an array.

    Raises:
        CommError: if its dtype is not a number of MPI.
    """
    if values.dtype.kind not in "iufc" or values.dtype.itemsize > 16 or values.dtype.char == "e":
        raise CommError(f"arrays of dtype {values.dtype} cannot be added across ranks; convert it")


def _allgather_flat(
    comm: MPI.Intracomm, data: ByteArray, sizes: npt.NDArray[np.int64]
) -> Generator[MPI.Request, None, list[ByteArray]]:
    ends = np.cumsum(sizes)
    starts = ends - sizes
    everything = np.empty(ends[-1], dtype=np.uint8)
    yield comm.Iallgatherv(data, [everything, (sizes, starts), MPI.BYTE])
    return [everything[start:end] for start, end in zip(starts, ends, strict=True)]


def _as_bytes(array: npt.NDArray[Any]) -> ByteArray:
    return array.reshape(-1).view(np.uint8)
