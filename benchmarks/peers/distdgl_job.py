"""Starts DistDGL's servers and trainers on emulated hosts and gathers what they measured."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.cluster_runs import DISTDGL, UNLIMITED, Run, Workload
from benchmarks.emulated_hosts import EmulatedHosts, EmulationError
from benchmarks.emulated_hosts.limited_links import traffic_between
from benchmarks.emulated_hosts.namespaces import INTERFACE
from benchmarks.peers import peer_environment
from benchmarks.peers.distdgl_layout import CONFIG_FILE, write_layout
from benchmarks.peers.training_job import gather_run, hand_over

_SERVER_PORT = 30050
_RENDEZVOUS_PORT = 30049
_POLL_S = 0.05


def convert(python: Path, parts: Path, out: Path, num_hosts: int) -> None:
    """Writes the files that the servers load; `python` is the peer's interpreter.

    Raises:
        EmulationError: If the conversion fails.
    """
    write_layout(parts, out, num_hosts)
    done = subprocess.run(
        [python, "-m", "benchmarks.peers.distdgl_convert", out],
        env=peer_environment(),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise EmulationError(f"{parts} could not be converted for DistDGL: {done.stderr.strip()}")


def run_distdgl(
    hosts: EmulatedHosts,
    python: Path,
    parts: Path,
    converted: Path,
    workload: Workload,
    num_ranks: int,
    threads: int,
    *,
    timeout_s: float = 600.0,
) -> Run:
    """Trains with DistDGL, a server on each host and as many trainers as gnnflow has ranks.

    Args:
        hosts: Where to run, as many as the conversion was made for.
        python: The peer's interpreter.
        parts: gnnflow's partition folder.
        converted: The same in DistDGL's format, from `convert`.
        workload: What is trained.
        num_ranks: Trainers of the job.
        threads: Threads of each trainer and server.
        timeout_s: Seconds after which the job is killed.

    Raises:
        EmulationError: If a process fails or the job takes longer than `timeout_s`.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        addresses = "".join(f"{hosts.addresses[name]} {_SERVER_PORT}\n" for name in hosts.names)
        (out / "ip_config").write_text(addresses)
        environment = peer_environment() | {
            "DGL_DIST_MODE": "distributed",
            "DGL_IP_CONFIG": str(out / "ip_config"),
            "DGL_CONF_PATH": str(converted / CONFIG_FILE),
            "DGL_GRAPH_FORMAT": "csc",
            "DGL_NUM_SERVER": "1",
            "DGL_NUM_SAMPLER": "0",
            "DGL_NUM_CLIENT": str(num_ranks),
            "OMP_NUM_THREADS": str(threads),
        }
        words = hand_over(workload.hyperparameters, parts, out, threads=threads)
        command = [python, "-m", "benchmarks.peers.distdgl_trainer", *words]
        before = hosts.traffic()
        _run_job(hosts, command, environment, out, num_ranks, timeout_s)
        traffic = traffic_between(before, hosts.traffic())
        rate = hosts.rate or UNLIMITED
        return gather_run(DISTDGL, rate, parts, out, workload.hyperparameters, traffic)


def _run_job(
    hosts: EmulatedHosts,
    command: Sequence[str | Path],
    environment: dict[str, str],
    out: Path,
    num_trainers: int,
    timeout_s: float,
) -> None:
    """Starts all processes and waits until the last has ended; one that fails ends the others."""
    trainers_per_host = num_trainers // len(hosts.names)
    processes: dict[str, subprocess.Popen[str]] = {}
    with ExitStack() as cleanup:

        def start(name: str, host: str, variables: dict[str, str]) -> None:
            log = cleanup.enter_context((out / f"{name}.log").open("w"))
            process = hosts.start(host, command, env=environment | variables, output=log)
            cleanup.callback(_kill, process)
            processes[name] = process

        for number, host in enumerate(hosts.names):
            start(f"server {number}", host, {"DGL_ROLE": "server", "DGL_SERVER_ID": str(number)})
        for rank in range(num_trainers):
            rendezvous = {
                "MASTER_ADDR": hosts.addresses[hosts.names[0]],
                "MASTER_PORT": str(_RENDEZVOUS_PORT),
                "RANK": str(rank),
                "WORLD_SIZE": str(num_trainers),
                "GLOO_SOCKET_IFNAME": INTERFACE,
            }
            host = hosts.names[rank // trainers_per_host]
            start(f"trainer {rank}", host, {"DGL_ROLE": "client", **rendezvous})
        _wait(processes, out, timeout_s)


def _wait(processes: dict[str, subprocess.Popen[str]], out: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    running = dict(processes)
    while running:
        for name, process in list(running.items()):
            returncode = process.poll()
            if returncode is None:
                continue
            if returncode != 0:
                log = (out / f"{name}.log").read_text()
                raise EmulationError(
                    f"{name} of DistDGL ended with status {returncode}; it last wrote: "
                    f"{log[-2000:].strip()}"
                )
            del running[name]
        if time.monotonic() > deadline:
            raise EmulationError(
                f"DistDGL took longer than {timeout_s:g} s and was killed; still running were "
                f"{', '.join(running)}"
            )
        time.sleep(_POLL_S)


def _kill(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
