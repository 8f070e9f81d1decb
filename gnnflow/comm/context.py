"""Who am I among the ranks and machines of a job: what a program opens first and closes last."""

import functools
import os
import socket
import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Protocol, Self

import numpy as np
import numpy.typing as npt

from gnnflow.config import Transport
from gnnflow.errors import CommError

if TYPE_CHECKING:
    from gnnflow.comm.exchange import ExchangeService

HOST_VARIABLE = "GNNFLOW_HOST"


def host_name() -> str:
    """Returns the name of this machine; the environment variable GNNFLOW_HOST overrides it."""
    return os.environ.get(HOST_VARIABLE) or socket.gethostname()


@dataclass(frozen=True, slots=True)
class HostMap:
    """The machine of every rank, numbered in order of their first rank."""

    host_of: tuple[int, ...]
    """Machine of each rank."""

    @classmethod
    def from_names(cls, names: Sequence[str]) -> "HostMap":
        """Groups ranks by the name of their machine, given in rank order."""
        numbers: dict[str, int] = {}
        return cls(tuple(numbers.setdefault(name, len(numbers)) for name in names))

    @property
    def num_hosts(self) -> int:
        """Number of machines."""
        return max(self.host_of) + 1

    def ranks_beside(self, rank: int) -> tuple[int, ...]:
        """Returns the ranks on the machine of `rank`, itself included, in order."""
        host = self.host_of[rank]
        return tuple(other for other, its_host in enumerate(self.host_of) if its_host == host)


class Closable(Protocol):
    """Something that goes on by itself until it is closed."""

    def close(self) -> None:
        """Ends it; closing twice is fine."""


class Context(ABC):
    """A rank's view of the job, and the collective operations of its main thread.

    Collective operations are called by all ranks, in the same order, from one thread of each. A
    context is closed at the end of its `with` block; an exception that leaves the block on any
    rank ends all ranks with one line that names it.
    """

    rank: int
    """Number of this rank, in `[0, num_ranks)`."""
    num_ranks: int
    """Number of ranks of the job; rank p owns part p."""
    hosts: HostMap
    """Which ranks share a machine."""
    transport: Transport
    """How rows and samples move between ranks."""
    comm_timeout_s: float
    """Seconds after which a missing answer ends the job."""
    threads: int
    """Threads that this rank may use for its kernels."""
    service: "ExchangeService | None"
    """Requests between ranks; None for one rank."""
    step: str
    """What the program is doing, for error messages, as "epoch 2, minibatch 31"; set it freely."""
    loss_weight: float | None = None
    """This rank's share of the job's seeds in the current minibatch: what its mean loss and its
    gradient count with; None means equal shares. The loader sets it, but tensors of a batch carry
    the weight of their own batch, which `wrap` prefers. One that is set by hand holds for all
    batches until a loader yields the next."""
    batch_weight: float | None = None
    """What the loader set `loss_weight` to; where they differ, somebody has set it by hand."""

    @functools.cached_property
    def before_close(self) -> "weakref.WeakSet[Closable]":
        """What has to end while other ranks still answer; closed before the context is."""
        return weakref.WeakSet()

    @property
    def ranks_on_host(self) -> tuple[int, ...]:
        """Ranks on this machine, this one included, in order."""
        return self.hosts.ranks_beside(self.rank)

    @property
    def host_rank(self) -> int:
        """Position of this rank among those on its machine."""
        return self.ranks_on_host.index(self.rank)

    @property
    def num_hosts(self) -> int:
        """Number of machines of the job."""
        return self.hosts.num_hosts

    def transport_to(self, rank: int) -> Literal["local", "shared", "alltoall", "rma"]:
        """Says how the rows of a rank reach this one.

        Directly (`local`), from the files of the other rank (`shared`), in messages (`alltoall`),
        or by reading its memory through MPI (`rma`).
        """
        if rank == self.rank:
            return "local"
        if self.transport == "alltoall" or self.transport == "rma":
            return self.transport
        same_host = self.hosts.host_of[rank] == self.hosts.host_of[self.rank]
        return "shared" if same_host else "alltoall"

    @abstractmethod
    def barrier(self) -> None:
        """Waits until all ranks have come here.

        Raises:
            CommError: if a rank does not come within the time-out.
        """

    @abstractmethod
    def allreduce_sum(self, values: npt.ArrayLike) -> npt.NDArray[Any]:
        """Adds the arrays of all ranks.

        Args:
            values: numbers of any shape and dtype, the same on all ranks.

        Returns:
            The sum, as a new array of that shape and dtype, equal on all ranks.
        """

    @abstractmethod
    def allgather_array(self, values: npt.ArrayLike) -> list[npt.NDArray[Any]]:
        """Gathers an array of every rank.

        Args:
            values: array of any shape and dtype, which may differ between ranks.

        Returns:
            One array for each rank, in rank order.
        """

    @abstractmethod
    def exchange_arrays(self, arrays: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Sends an array to every rank and returns what they sent here.

        Args:
            arrays: one for each rank, of the same dtype on all ranks and any size.

        Returns:
            The one of each rank, in rank order, one-dimensional.
        """

    @abstractmethod
    def allgather_json(self, value: Any) -> list[Any]:
        """Gathers a value of every rank: anything that JSON can say.

        Returns:
            One value for each rank, in rank order, as JSON reads it back (tuples become lists).
        """

    @abstractmethod
    def broadcast_json(self, value: Any, root: int = 0) -> Any:
        """Returns the value that rank `root` gave, on all ranks, as JSON reads it back."""

    @abstractmethod
    def abort(self, message: str) -> NoReturn:
        """Ends all ranks at once with exit code 1 and one line on stderr."""

    @abstractmethod
    def fail_with_ranks(self, label: str, reason: str) -> NoReturn:
        """Ends all ranks after something that they do together failed outside of gnnflow.

        The one line names the ranks that do not respond, if there are any.

        Args:
            label: what failed, as "the sum of gradients".
            reason: the error, in words.
        """

    @abstractmethod
    def end_on_interrupt(self) -> None:
        """Lets Ctrl-C end the job at once, in place of an exception in the main thread.

        That exception is lost if it comes while the garbage collector or a callback runs, and the
        ranks that did not lose it wait for the others. For commands; call it in the main thread.
        One process keeps the exception.
        """

    @abstractmethod
    def close(self) -> None:
        """Finishes what is pending and leaves the job; all ranks call it. Closing twice is fine."""

    def __enter__(self) -> Self:
        """Returns the context itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the context; on an exception, ends all ranks."""
        self.close()


def available_cores() -> set[int]:
    """Returns the cores that this process may run on."""
    return os.sched_getaffinity(0)


def as_array(values: npt.ArrayLike) -> npt.NDArray[Any]:
    """Returns values as a contiguous array that messages can carry.

    Raises:
        CommError: if they are Python objects, which no message carries.
    """
    array = np.ascontiguousarray(values)
    if array.dtype.hasobject:
        raise CommError(f"arrays of dtype {array.dtype} cannot be sent; use numbers")
    return array.reshape(np.shape(values))
