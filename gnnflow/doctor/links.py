"""How fast ranks reach each other, measured by the ranks themselves.

Run as a module under a launcher, rank 0 prints one line of JSON.
"""

import socket
import statistics
import time
from dataclasses import asdict, dataclass

import numpy as np

from gnnflow.comm.mpi_library import MPI, library_name, start_mpi
from gnnflow.errors import CommError
from gnnflow.files.json_text import to_json_text
from gnnflow.launch.environment import Launch, detect_launch

_NAME_BYTES = 256
_NUM_PINGS = 200
_NUM_BLOCKS = 8
_BLOCK_BYTES = 4 << 20
_LEVELS = {
    MPI.THREAD_SINGLE: "SINGLE",
    MPI.THREAD_FUNNELED: "FUNNELED",
    MPI.THREAD_SERIALIZED: "SERIALIZED",
    MPI.THREAD_MULTIPLE: "MULTIPLE",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Links:
    """Rank 0's links to the other ranks."""

    library: str
    """MPI library."""
    thread_level: str
    """Thread level that it gives."""
    hosts: list[str]
    """Machine of each rank."""
    latency_s: list[float]
    """Seconds that 8 bytes take to each rank from 1 on, one way; the median."""
    bytes_per_s: list[float]
    """Bytes per second to each rank from 1 on, in blocks of 4 MiB."""


def measure_links(launched: Launch) -> Links:
    """Measures the links of rank 0; all ranks call this.

    Args:
        launched: How the ranks were started.

    Raises:
        CommError: If launcher and MPI do not belong together, or MPI allows no threads.
    """
    start_mpi(launched.num_ranks, launched.launcher)
    comm = MPI.COMM_WORLD.Dup()
    hosts = _host_names(comm)
    latency_s, bytes_per_s = [], []
    for other in range(1, comm.size):
        comm.Barrier()
        latency_s.append(_ping(comm, other))
        bytes_per_s.append(_stream(comm, other))
    comm.Free()
    return Links(
        library=library_name(),
        thread_level=_LEVELS[MPI.Query_thread()],
        hosts=hosts,
        latency_s=latency_s,
        bytes_per_s=bytes_per_s,
    )


def _host_names(comm: MPI.Intracomm) -> list[str]:
    """The machine of each rank, as bytes: what mpi4py sends by itself it pickles."""
    own = np.zeros(_NAME_BYTES, dtype=np.uint8)
    name = socket.gethostname().encode()[:_NAME_BYTES]
    own[: len(name)] = np.frombuffer(name, dtype=np.uint8)
    everyone = np.empty((comm.size, _NAME_BYTES), dtype=np.uint8)
    comm.Allgather(own, everyone)
    return [row.tobytes().rstrip(b"\0").decode() for row in everyone]


def _ping(comm: MPI.Intracomm, other: int) -> float:
    message = np.zeros(1)
    taken = []
    for _ in range(_NUM_PINGS):
        start_s = time.perf_counter()
        if comm.rank == 0:
            comm.Send(message, other)
            comm.Recv(message, other)
        elif comm.rank == other:
            comm.Recv(message, 0)
            comm.Send(message, 0)
        taken.append((time.perf_counter() - start_s) / 2)
    return statistics.median(taken)


def _stream(comm: MPI.Intracomm, other: int) -> float:
    block, answer = np.zeros(_BLOCK_BYTES, dtype=np.uint8), np.zeros(1)
    start_s = time.perf_counter()
    # The first block warms buffers up and does not count.
    for number in range(_NUM_BLOCKS + 1):
        if number == 1:
            start_s = time.perf_counter()
        if comm.rank == 0:
            comm.Send(block, other)
            comm.Recv(answer, other)
        elif comm.rank == other:
            comm.Recv(block, 0)
            comm.Send(answer, 0)
    return _NUM_BLOCKS * _BLOCK_BYTES / (time.perf_counter() - start_s)


def main() -> None:
    """Measures and prints, as a rank of a job."""
    launched = detect_launch()
    if launched is None:
        raise CommError("gnnflow.doctor.links runs under a launcher: mpiexec -n 2 python -m ...")
    links = measure_links(launched)
    if launched.rank == 0:
        print(to_json_text(asdict(links)), flush=True)


if __name__ == "__main__":
    main()
