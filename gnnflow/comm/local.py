"""The context of one process, which needs no MPI."""

import json
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from gnnflow.comm.context import Context, Transport, as_array, available_cores
from gnnflow.comm.hosts import HostMap


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
