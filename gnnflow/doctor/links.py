"""How fast ranks reach each other, measured by the ranks themselves, and what to make of it.

Run as a module under a launcher, rank 0 prints one line of JSON.
"""

import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from gnnflow.comm.mpi_library import MPI, library_name, start_mpi
from gnnflow.doctor.machine import Finding
from gnnflow.errors import CommError
from gnnflow.files.json_text import to_json_text
from gnnflow.launch.environment import Launch, detect_launch
from gnnflow.launch.mpiexec import find_mpiexec, launch_environment
from gnnflow.units import human_bytes

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
_LIMIT_S = 120.0
_SLOW_BYTES_PER_S = 125e6  # 1 Gbit/s
_SLOW_LATENCY_S = 1e-3


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


def links_of_started_ranks(num_ranks: int) -> tuple[Links | None, list[Finding]]:
    """Starts ranks on this machine and lets them measure.

    Args:
        num_ranks: How many.

    Returns:
        What they measured, None if they could not; and what was found on the way.
    """
    try:
        mpiexec = find_mpiexec()
    except CommError as error:
        return None, [Finding(name="mpiexec", state="problem", value="none", advice=str(error))]
    findings = [Finding(name="mpiexec", state="ok", value=str(mpiexec))]
    command = [str(mpiexec), "-n", str(num_ranks), sys.executable, "-m", "gnnflow.doctor.links"]
    environment = launch_environment(mpiexec)
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=_LIMIT_S, env=environment, check=False
        )
        links = Links(**json.loads(ended.stdout.strip().splitlines()[-1]))
    except subprocess.TimeoutExpired:
        reason = f"no answer within {_LIMIT_S:g} s"
    except (ValueError, TypeError, IndexError):
        said = (ended.stderr.strip() or ended.stdout.strip()).splitlines()
        reason = said[-1] if said else f"it ended with exit code {ended.returncode}"
    else:
        return links, findings
    failed = Finding(
        name=f"{num_ranks} ranks",
        state="problem",
        value=f"they do not start: {reason}",
        advice='use the mpiexec of the MPI that this Python loads: pip install "gnnflow[mpich]", '
        f"or load the machine's own; try: {' '.join(command)}",
    )
    return None, [*findings, failed]


def check_links(links: Links, launched: Launch | None = None) -> list[Finding]:
    """Judges what the ranks measured.

    Args:
        links: What rank 0 measured.
        launched: How they were started, if a launcher of the user's did.
    """
    num_ranks, num_hosts = len(links.hosts), len(set(links.hosts))
    started = "mpiexec" if launched is None else launched.launcher
    findings = [
        Finding(
            name="ranks",
            state="ok",
            value=f"{num_ranks} on {num_hosts} machine{'s' if num_hosts > 1 else ''}, {started}",
        ),
        _thread_level(links),
    ]
    if num_ranks > 1:
        within = [host == links.hosts[0] for host in links.hosts[1:]]
        for name, wanted in (("inside the machine", True), ("between machines", False)):
            chosen = [index for index, same in enumerate(within) if same == wanted]
            if chosen:
                findings.append(_link(links, chosen, name, is_network=not wanted))
    return findings


def main() -> None:
    """Measures and prints, as a rank of a job."""
    launched = detect_launch()
    if launched is None:
        raise CommError("gnnflow.doctor.links runs under a launcher: mpiexec -n 2 python -m ...")
    links = measure_links(launched)
    if launched.rank == 0:
        print(to_json_text(asdict(links)), flush=True)


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


def _thread_level(links: Links) -> Finding:
    is_enough = links.thread_level in ("SERIALIZED", "MULTIPLE")
    return Finding(
        name="MPI",
        state="ok" if is_enough else "problem",
        value=f"{links.library}, thread level {links.thread_level}",
        advice="" if is_enough else "use an MPI build with thread support: rows move in a thread",
    )


def _link(links: Links, chosen: Sequence[int], name: str, *, is_network: bool) -> Finding:
    slowest = min(links.bytes_per_s[index] for index in chosen)
    longest_s = max(links.latency_s[index] for index in chosen)
    advice = []
    if is_network and slowest < _SLOW_BYTES_PER_S:
        advice.append(
            "less than 1 Gbit/s: raise --cache-fraction, send rows with --wire-dtype bfloat16, and "
            "check that MPI uses the fast network"
        )
    if longest_s > _SLOW_LATENCY_S:
        advice.append(
            "more than a millisecond: start fewer ranks than cores, and check that MPI uses the "
            "fast network"
        )
    return Finding(
        name=f"link {name}",
        state="note" if advice else "ok",
        value=f"{human_bytes(slowest)}/s, {1e6 * longest_s:.0f} microseconds (slowest of "
        f"{len(chosen)})",
        advice="; ".join(advice),
    )


if __name__ == "__main__":
    main()
