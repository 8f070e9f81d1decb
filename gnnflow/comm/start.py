"""Opens the context that fits how the program was started; that of one process needs no MPI."""

import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, get_args

import numpy as np
import numpy.typing as npt

from gnnflow.comm.context import Context, HostMap, as_array, available_cores
from gnnflow.config import DEFAULT_TIMEOUT_S, Transport, require_seconds
from gnnflow.errors import CommError, ConfigError, GnnflowError, resource_error
from gnnflow.launch.environment import check_no_torchrun, detect_launch
from gnnflow.launch.rank_board import OWN_SLOT

_LOGGER = logging.getLogger(__name__)


class LocalContext(Context):
    """A job of one rank: every collective operation returns what it was given."""

    def __init__(
        self, *, transport: Transport, comm_timeout_s: float, threads: int | None = None
    ) -> None:
        """Opens the context; `gnnflow.init` does this and checks the arguments."""
        self.rank = 0
        self.num_ranks = 1
        self.hosts = HostMap((0,))
        self.transport = transport
        self.comm_timeout_s = comm_timeout_s
        self.threads = len(available_cores()) if threads is None else threads
        self.service = None
        self.step = ""

    def barrier(self) -> None:
        """Returns at once."""

    def allreduce_sum(self, values: npt.ArrayLike) -> npt.NDArray[Any]:
        """Returns a copy."""
        return np.array(as_array(values))

    def allgather_array(self, values: npt.ArrayLike) -> list[npt.NDArray[Any]]:
        """Returns a list of one copy."""
        return [np.array(as_array(values))]

    def exchange_arrays(self, arrays: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Returns a copy of the only array, one-dimensional."""
        return [np.array(array).reshape(-1) for array in arrays]

    def allgather_json(self, value: Any) -> list[Any]:
        """Returns a list of one value."""
        return [json.loads(json.dumps(value))]

    def broadcast_json(self, value: Any, root: int = 0) -> Any:
        """Returns the value."""
        return json.loads(json.dumps(value))

    def abort(self, message: str) -> NoReturn:
        """Ends the process with exit code 1 and one line on stderr."""
        print(f"gnnflow: error: {message}", file=sys.stderr, flush=True)
        sys.exit(1)

    def fail_with_ranks(self, label: str, reason: str) -> NoReturn:
        """Ends the process: there is no other rank to blame."""
        self.abort(f"{label} failed: {reason}")

    def end_on_interrupt(self) -> None:
        """Does nothing: no other rank waits."""

    def close(self) -> None:
        """Does nothing: one process holds no connection."""


def init(
    *,
    transport: Transport = "auto",
    comm_timeout_s: float = DEFAULT_TIMEOUT_S,
    threads: int | None = None,
) -> Context:
    """Opens the context of this process: of an MPI job if a launcher started it, else of one rank.

    MPI is loaded only in a job of several ranks. Open one context at a time, in the main thread.
    From now on an error that a user can mend, and that nobody catches, is told on one line.

    Args:
        transport: how rows and samples move: shared memory inside a machine and messages between
            (`auto`), or `shared`, `alltoall` or `rma` for all pairs of ranks. `rma` reads rows by
            one-sided MPI, at the price of a copy of them in memory; samples move in messages.
        comm_timeout_s: seconds after which a missing answer ends the job, naming the rank.
        threads: threads of this rank; by default the machine's cores divided by its ranks.

    Raises:
        ConfigError: if an argument is out of range, or `shared` is asked for across machines.
        CommError: if torchrun started several processes, if the launcher and the MPI library do
            not belong together, or MPI cannot be used from a thread.
    """
    _tell_errors_on_one_line()
    transports = get_args(Transport)
    if transport not in transports:
        raise ConfigError(f"transport must be one of {', '.join(transports)}, got {transport!r}")
    require_seconds("comm_timeout_s", comm_timeout_s)
    if threads is not None and threads < 1:
        raise ConfigError(f"threads must be at least 1, got {threads}")
    check_no_torchrun()
    launched = detect_launch()
    if launched is None or launched.num_ranks == 1:
        return LocalContext(transport=transport, comm_timeout_s=comm_timeout_s, threads=threads)
    OWN_SLOT.join(launched.rank)
    try:
        from gnnflow.comm.mpi_context import MpiContext
        from gnnflow.comm.mpi_library import library_name
    except (ImportError, RuntimeError) as error:
        raise CommError(
            f"{launched.launcher} started {launched.num_ranks} ranks, but MPI cannot be loaded "
            f'({error}); install one with pip install "gnnflow[mpich]"'
        ) from error
    context = MpiContext(
        launched=launched, transport=transport, comm_timeout_s=comm_timeout_s, threads=threads
    )
    _LOGGER.info(
        "%s, %d ranks, %d of them on this machine",
        *(library_name(), context.num_ranks, len(context.ranks_on_host)),
    )
    return context


def _tell_errors_on_one_line() -> None:
    """Lets an uncaught `GnnflowError` end a program as it ends a job of several ranks."""
    before = sys.excepthook
    if getattr(before, "__module__", None) == __name__:
        return

    def tell(
        kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        told = error if isinstance(error, GnnflowError) else resource_error(error)
        if told is None:
            before(kind, error, traceback)
            return
        launched = detect_launch()
        where = "" if launched is None else f" on rank {launched.rank}"
        program = Path(sys.argv[0]).name or "gnnflow"
        print(f"{program}: error{where}: {told}", file=sys.stderr)

    sys.excepthook = tell
