"""The context of a rank in an MPI job."""

import atexit
import os
import signal
import sys
import weakref
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType
from typing import Any, NoReturn

import numpy.typing as npt

from gnnflow.comm import collectives
from gnnflow.comm.context import Context, HostMap, as_array, available_cores, host_name
from gnnflow.comm.exchange import ExchangeService
from gnnflow.comm.failure import Failure
from gnnflow.comm.mpi_library import MPI, start_mpi
from gnnflow.config import Transport
from gnnflow.errors import ConfigError
from gnnflow.launch.environment import Launch
from gnnflow.launch.rank_board import OWN_SLOT
from gnnflow.launch.rank_deaths import process_space

ExceptHook = Callable[[type[BaseException], BaseException, TracebackType | None], object]


class MpiContext(Context):
    """One rank among several; its communication thread makes all MPI calls while it is open."""

    def __init__(
        self,
        *,
        launched: Launch,
        transport: Transport,
        comm_timeout_s: float,
        threads: int | None = None,
    ) -> None:
        """Opens the context on all ranks together; `gnnflow.init` does this.

        Raises:
            CommError: if the MPI library cannot be used as it is.
            ConfigError: if `shared` is asked for across machines.
        """
        start_mpi(launched.num_ranks, launched.launcher)
        self.rank = MPI.COMM_WORLD.rank
        self.num_ranks = MPI.COMM_WORLD.size
        self.transport = transport
        self.comm_timeout_s = comm_timeout_s
        self.step = "start"
        self._exchange = ExchangeService(
            MPI.COMM_WORLD, timeout_s=comm_timeout_s, describe_step=lambda: self.step
        )
        self.service = self._exchange
        self._closed = False
        self._ends_on_interrupt = False
        self._hook_before = sys.excepthook
        self._hook = _ending_hook(self, self._hook_before)
        sys.excepthook = self._hook
        atexit.register(self._close_at_exit)
        own_facts = [host_name(), sorted(available_cores()), os.getpid(), process_space()]
        facts = self.allgather_json(own_facts)
        self.hosts = HostMap.from_names([name for name, *_ in facts])
        cores = set().union(*(facts[rank][1] for rank in self.ranks_on_host))
        share = max(1, len(cores) // len(self.ranks_on_host))
        self.threads = share if threads is None else threads
        self._exchange.watch(
            {
                rank: facts[rank][2]
                for rank in self.ranks_on_host
                if rank != self.rank and facts[rank][3] == own_facts[3]
            }
        )
        if transport == "shared" and self.num_hosts > 1:
            self._fail(
                ConfigError(
                    f"transport shared needs all ranks on one machine, got {self.num_hosts}; "
                    "use auto"
                )
            )

    @property
    def step(self) -> str:
        """What the program is doing; see `Context.step`."""
        return self._step

    @step.setter
    def step(self, step: str) -> None:
        self._step = step
        OWN_SLOT.note_step(step)

    def barrier(self) -> None:
        """Waits until all ranks have come here; a time-out ends the job."""
        self._exchange.collective("a barrier", collectives.barrier).result()

    def allreduce_sum(self, values: npt.ArrayLike) -> npt.NDArray[Any]:
        """Adds the arrays of all ranks; see `Context.allreduce_sum`.

        Raises:
            CommError: if MPI has no number of that dtype.
        """
        array = as_array(values)
        collectives.check_sum(array)
        total: npt.NDArray[Any] = self._exchange.collective(
            "a sum over ranks", lambda comm: collectives.allreduce_sum(comm, array)
        ).result()
        return total

    def allgather_array(self, values: npt.ArrayLike) -> list[npt.NDArray[Any]]:
        """Gathers an array of every rank; see `Context.allgather_array`."""
        array = as_array(values)
        gathered: list[npt.NDArray[Any]] = self._exchange.collective(
            "gathering arrays", lambda comm: collectives.allgather_array(comm, array)
        ).result()
        return gathered

    def exchange_arrays(self, arrays: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Sends an array to every rank; see `Context.exchange_arrays`."""
        flat = [as_array(array).reshape(-1) for array in arrays]
        received: list[npt.NDArray[Any]] = self._exchange.collective(
            "exchanging arrays", lambda comm: collectives.exchange_arrays(comm, flat)
        ).result()
        return received

    def allgather_json(self, value: Any) -> list[Any]:
        """Gathers a value of every rank; see `Context.allgather_json`."""
        gathered: list[Any] = self._exchange.collective(
            "gathering values", lambda comm: collectives.allgather_json(comm, value)
        ).result()
        return gathered

    def broadcast_json(self, value: Any, root: int = 0) -> Any:
        """Returns the value of rank `root` on all ranks; see `Context.broadcast_json`."""
        return self._exchange.collective(
            "a broadcast", lambda comm: collectives.broadcast_json(comm, value, root)
        ).result()

    def abort(self, message: str) -> NoReturn:
        """Ends all ranks at once with exit code 1 and one line on stderr."""
        self._exchange.fail(Failure(key=message, text=message))

    def fail_with_ranks(self, label: str, reason: str) -> NoReturn:
        """Ends the job after `label` failed, naming the ranks that do not respond."""
        self._exchange.fail_with_ranks(label, reason)

    def end_on_interrupt(self) -> None:
        """Lets Ctrl-C end the job at once; see `Context.end_on_interrupt`."""

        def end(number: int, frame: FrameType | None) -> None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # once is enough
            self._fail(KeyboardInterrupt())

        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            return  # in the background of a script it is ignored, and stays so
        signal.signal(signal.SIGINT, end)
        self._ends_on_interrupt = True

    def close(self) -> None:
        """Waits for all ranks, then stops the communication thread."""
        if self._closed:
            return
        for running in list(self.before_close):
            running.close()
        self.step = "closing"
        self._exchange.finish_calls()
        self._exchange.expect_ends()
        self.barrier()
        self._closed = True
        if self._ends_on_interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self._exchange.stop()
        atexit.unregister(self._close_at_exit)
        if sys.excepthook is self._hook:
            sys.excepthook = self._hook_before

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the context; on an exception, ends all ranks."""
        orderly_exit = isinstance(error, SystemExit) and error.code in (None, 0)
        if error is None or orderly_exit or self._closed:
            self.close()
        else:
            self._fail(error)

    def _close_at_exit(self) -> None:
        try:
            self.close()
        except BaseException as error:  # Python would print it and let the others wait
            self._fail(error)

    def _fail(self, error: BaseException) -> NoReturn:
        self._exchange.fail(Failure.from_exception(error, self.step))


def _ending_hook(context: MpiContext, before: ExceptHook) -> ExceptHook:
    """An exception hook that ends all ranks while the context is open.

    torch wraps whatever hook it finds in its own, which stays; so this one must not keep the
    context alive, and with it graphs and files.
    """
    reference = weakref.ref(context)

    def end(
        kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        found = reference()
        if found is None or found._closed:
            before(kind, error, traceback)
        else:
            found._fail(error)

    return end
