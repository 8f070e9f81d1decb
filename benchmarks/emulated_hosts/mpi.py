"""Runs an MPI program on emulated hosts with MPICH's mpiexec, over their links."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.emulated_hosts.limited_links import EmulationError, Traffic, traffic_between
from benchmarks.emulated_hosts.namespaces import BRIDGE, HUB, INTERFACE, LAUNCHER, EmulatedHosts

# The hosts run on one kernel, so a transport that looks for shared memory finds it and goes past
# the link. Between hosts only TCP is left; ranks of one host still meet in its own /dev/shm.
_ENVIRONMENT = {
    "UCX_TLS": "tcp,self",
    "UCX_NET_DEVICES": INTERFACE,
    "FI_PROVIDER": "tcp",
    "FI_TCP_IFACE": INTERFACE,
    "GLOO_SOCKET_IFNAME": INTERFACE,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class MpiRun:
    """A finished MPI program."""

    returncode: int
    """Exit status of mpiexec."""
    output: str
    """What all ranks wrote to standard output and error."""
    elapsed_s: float
    """Wall time from the start of mpiexec to its end."""
    traffic: dict[str, Traffic]
    """Bytes over the link of each host, those of mpiexec itself (a few KB) included."""


def run_mpi(
    hosts: EmulatedHosts,
    ranks_per_host: int,
    argv: Sequence[str | Path],
    env: Mapping[str, str] | None = None,
    *,
    timeout_s: float = 600.0,
) -> MpiRun:
    """Runs a program on every host, ranks numbered host by host.

    Args:
        hosts: Where to run.
        ranks_per_host: Ranks on each host.
        argv: The program and its arguments.
        env: Variables added to this process's environment, for all ranks.
        timeout_s: Seconds after which the run is killed.

    Returns:
        What the run wrote and moved, whatever its exit status.

    Raises:
        EmulationError: If there is no MPICH, or the run takes longer than `timeout_s`.
    """
    mpiexec = _find_mpiexec()
    command: list[str | Path] = [
        mpiexec,
        *("-launcher", "ssh", "-launcher-exec", LAUNCHER, "-iface", BRIDGE),
        *("-hosts", ",".join(hosts.names), "-ppn", str(ranks_per_host)),
        *("-n", str(ranks_per_host * len(hosts.names))),
        *argv,
    ]
    before = hosts.traffic()
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = hosts.start(HUB, command, env={**_ENVIRONMENT, **(env or {})}, output=output)
        try:
            returncode = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise EmulationError(
                f"{' '.join(map(str, argv))} on {len(hosts.names)} emulated hosts took longer than "
                f"{timeout_s:g} s and was killed; it last wrote: {_tail(output.fileno())}"
            ) from None
        finally:
            if process.poll() is None:
                # The ranks end when their mpiexec is gone.
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        elapsed_s = time.monotonic() - began
        output.seek(0)
        return MpiRun(
            returncode=returncode,
            output=output.read(),
            elapsed_s=elapsed_s,
            traffic=traffic_between(before, hosts.traffic()),
        )


def _find_mpiexec() -> Path:
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is not None:
        version = subprocess.run([found, "--version"], capture_output=True, text=True).stdout
        if "HYDRA" in version:
            return Path(found)
    raise EmulationError(
        f"emulated hosts need MPICH's mpiexec, found {found or 'none'}; pip install mpich"
    )


def _tail(descriptor: int, num_bytes: int = 2000) -> str:
    end = os.lseek(descriptor, 0, os.SEEK_END)
    os.lseek(descriptor, max(0, end - num_bytes), os.SEEK_SET)
    return os.read(descriptor, num_bytes).decode(errors="replace").strip()
