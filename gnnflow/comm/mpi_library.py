"""The MPI library, loaded without being initialised behind the program's back."""

import atexit
import contextlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from gnnflow.errors import CommError
from gnnflow.launch.environment import OPEN_MPI_LAUNCHER, is_on_one_machine
from gnnflow.launch.job_end import SHARED_MEMORY, mpich_memory_of, shared_memory_bytes
from gnnflow.units import human_bytes

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
        _check_shared_memory(num_ranks)
        defaults = dict(_TRANSPORT_DEFAULTS)
        if is_on_one_machine() and _has_loopback():
            defaults |= _ON_LOOPBACK
        for name, value in defaults.items():
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


def _check_shared_memory(num_ranks: int) -> None:
    """Finds out that MPICH would end this process by SIGBUS for want of shared memory."""
    free, size = shared_memory_bytes()
    needed = (num_ranks if is_on_one_machine() else 1) * _MPICH_BYTES_OF_RANK
    if "MPICH" in library_name() and free < needed:
        raise CommError(
            f"{SHARED_MEMORY} has {human_bytes(free)} of {human_bytes(size)} free, and MPI needs "
            f"{human_bytes(needed)} for the ranks of this machine; make it larger, in Docker by "
            "--shm-size=8g"
        )


def _remove_names() -> None:
    """Removes the names of the shared memory that MPICH has set up, which stays as it is.

    A job that is killed would leave megabytes behind in the machine's memory each time. Every rank
    of the machine has mapped them after the barrier.
    """
    names = mpich_memory_of("self")
    MPI.COMM_WORLD.Barrier()
    for name in names:
        with contextlib.suppress(OSError):
            os.unlink(name)


# UCX, which carries MPICH's and Open MPI's messages, notices after some 20 s that a peer cannot be
# reached, and MPICH 5.0 then dies of a segmentation fault in the next send, before anybody can say
# what has happened. Ranks ask each other themselves when an answer is overdue.
_TRANSPORT_DEFAULTS = {"UCX_KEEPALIVE_INTERVAL": "inf", "UCX_TCP_KEEPIDLE": "inf"}
# A transport opens ports even where shared memory carries all messages. UCX's list holds devices of
# the network alone; those of GPUs and memory stay in use.
_ON_LOOPBACK = {
    "UCX_NET_DEVICES": "lo",
    "FI_TCP_IFACE": "lo",
    "FI_SOCKETS_IFACE": "lo",
}
_LOOPBACK_FLAGS = Path("/sys/class/net/lo/flags")
_IS_UP = 1
# Measured with MPICH 5.0.2 on 2 ranks: 2 MB are too little, 3 MB are enough.
_MPICH_BYTES_OF_RANK = 1.25e6
_LEVELS = {MPI.THREAD_SINGLE: "SINGLE", MPI.THREAD_FUNNELED: "FUNNELED"}


def _has_loopback() -> bool:
    try:
        return bool(int(_LOOPBACK_FLAGS.read_text(), 16) & _IS_UP)
    except (OSError, ValueError):
        return False


def _finalize() -> None:
    if not MPI.Is_finalized():
        MPI.Finalize()
