"""The MPI library, loaded without being initialised behind the program's back."""

import atexit
import contextlib
import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING

from gnnflow.comm.environment import OPEN_MPI_LAUNCHER
from gnnflow.errors import CommError

if TYPE_CHECKING:
    from mpi4py import MPI
else:

    def _load() -> ModuleType:
        import mpi4py

        if "mpi4py.MPI" not in sys.modules:
            # gnnflow asks for the thread level itself, and finalises after the last context.
            mpi4py.rc.initialize = False
            mpi4py.rc.finalize = False
        from mpi4py import MPI as library

        return library

    MPI = _load()

__all__ = ["MPI", "library_name", "start_mpi"]


def library_name() -> str:
    """Returns name and version of the MPI library, on one line."""
    line = MPI.Get_library_version().strip().splitlines()[0].strip(" ,\0")
    return " ".join(line.split())


def start_mpi(num_ranks: int, launcher: str) -> None:
    """Initialises MPI, once for a process, and checks that it can do what gnnflow needs.

    All calls are made by one thread at a time, which is MPI's level SERIALIZED.

    Args:
        num_ranks: ranks that the launcher announced.
        launcher: its name, for messages.

    Raises:
        CommError: if MPI allows calls of the main thread only, is finalised already, or sees
            another number of ranks than the launcher started.
    """
    if MPI.Is_finalized():
        raise CommError("MPI is finalised in this process; open the context before that")
    wrong_launcher = CommError(
        f"{launcher} started {num_ranks} ranks, but it belongs to another MPI than "
        f"{library_name()}, which this Python uses; use the mpiexec beside {sys.executable}, "
        "or srun with the --mpi that fits"
    )
    if launcher == OPEN_MPI_LAUNCHER and "MPICH" in library_name():
        raise wrong_launcher  # MPICH would end the process while it starts
    if not MPI.Is_initialized():
        for name, value in _TRANSPORT_DEFAULTS.items():
            os.environ.setdefault(name, value)
        MPI.Init_thread(MPI.THREAD_SERIALIZED)
        atexit.register(_finalize)
    if num_ranks != MPI.COMM_WORLD.size:
        raise wrong_launcher
    if MPI.Query_thread() < MPI.THREAD_SERIALIZED:
        raise CommError(
            f"{library_name()} gives this job the thread level "
            f"{_LEVELS.get(MPI.Query_thread(), 'unknown')}, but rows move in a thread of their "
            "own, which needs SERIALIZED; use an MPI build with thread support, or call "
            "gnnflow.init before anything else initialises MPI"
        )
    _remove_names()


def _remove_names() -> None:
    """Removes the names of the shared memory that MPICH has set up, which stays as it is.

    MPICH removes them when it is finalised, so a job that is killed would leave megabytes behind in
    the machine's memory each time. Every rank of the machine has mapped them after the barrier.
    """
    names = set()
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            names = {line.split()[-1] for line in maps if f" {_MPICH_MEMORY}" in line}
    except OSError:
        pass  # no Linux: names stay until MPICH removes them
    MPI.COMM_WORLD.Barrier()
    for name in names:
        if name.startswith(_MPICH_MEMORY):
            with contextlib.suppress(OSError):
                os.unlink(name)


# UCX, which carries MPICH's and Open MPI's messages, notices after some 20 s that a peer cannot be
# reached, and MPICH 5.0 then dies of a segmentation fault in the next send, before anybody can say
# what has happened. Ranks ask each other themselves when an answer is overdue.
_TRANSPORT_DEFAULTS = {"UCX_KEEPALIVE_INTERVAL": "inf", "UCX_TCP_KEEPIDLE": "inf"}
_MPICH_MEMORY = "/dev/shm/mpich_shm_"
_LEVELS = {MPI.THREAD_SINGLE: "SINGLE", MPI.THREAD_FUNNELED: "FUNNELED"}


def _finalize() -> None:
    if not MPI.Is_finalized():
        MPI.Finalize()
