"""Starts DistDGL's servers and trainers on emulated hosts and gathers what they measured."""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.distdgl import CONFIG_FILE
from benchmarks.distdgl.accuracy import exact_accuracy
from benchmarks.distdgl.layout import write_layout
from benchmarks.emulated_hosts import EmulatedHosts, EmulationError, Traffic
from benchmarks.emulated_hosts.hosts import INTERFACE
from benchmarks.emulated_hosts.links import traffic_between
from gnnflow.partition import read_manifest

_REPOSITORY = Path(__file__).parents[2]
_SERVER_PORT = 30050
_RENDEZVOUS_PORT = 30049
_POLL_S = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class DistDglConfig:
    """What a job trains, in gnnflow's terms."""

    epochs: int
    fanout: tuple[int, ...]
    """Neighbours per hop, from the seeds outwards."""
    batch_size: int
    hidden: int
    dropout: float = 0.5
    lr: float = 0.003
    seed: int = 0
    threads: int = 1
    """Threads of each trainer and server."""
    trainers_per_host: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class DistDglRun:
    """What a job took and moved."""

    epochs: tuple[tuple[dict[str, float], ...], ...]
    """The figures of `train.EpochTimes`, by trainer and epoch."""
    accuracy: dict[str, float]
    """Share of right answers over all neighbours, by split."""
    traffic: dict[str, Traffic]
    """Bytes over the link of each host in the whole job."""
    peak_memory_bytes: int
    """Largest resident memory of a trainer; a server's is not counted."""

    @property
    def epoch_time_s(self) -> tuple[float, ...]:
        """Seconds of each epoch on the slowest trainer."""
        return tuple(
            max(trainer[epoch]["epoch_time_s"] for trainer in self.epochs)
            for epoch in range(len(self.epochs[0]))
        )


def convert(python: Path, parts: Path, out: Path, num_hosts: int) -> None:
    """Writes the files that the servers load; `python` is the peer's interpreter.

    Raises:
        EmulationError: If the conversion fails.
    """
    write_layout(parts, out, num_hosts)
    done = subprocess.run(
        [python, "-m", "benchmarks.distdgl.convert", out],
        env=_environment(),
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
    config: DistDglConfig,
    *,
    timeout_s: float = 600.0,
) -> DistDglRun:
    """Trains with DistDGL, one server and `trainers_per_host` trainers on each host.

    Args:
        hosts: Where to run, as many as the conversion was made for.
        python: The peer's interpreter.
        parts: gnnflow's partition folder.
        converted: The same in DistDGL's format, from `convert`.
        config: What to train.
        timeout_s: Seconds after which the job is killed.

    Raises:
        EmulationError: If a process fails or the job takes longer than `timeout_s`.
    """
    num_trainers = config.trainers_per_host * len(hosts.names)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        addresses = "".join(f"{hosts.addresses[name]} {_SERVER_PORT}\n" for name in hosts.names)
        (out / "ip_config").write_text(addresses)
        environment = _environment() | {
            "DGL_DIST_MODE": "distributed",
            "DGL_IP_CONFIG": str(out / "ip_config"),
            "DGL_CONF_PATH": str(converted / CONFIG_FILE),
            "DGL_GRAPH_FORMAT": "csc",
            "DGL_NUM_SERVER": "1",
            "DGL_NUM_SAMPLER": "0",
            "DGL_NUM_CLIENT": str(num_trainers),
            "OMP_NUM_THREADS": str(config.threads),
        }
        command: list[str | Path] = [
            python,
            "-m",
            "benchmarks.distdgl.train",
            *_words(config, out, parts),
        ]
        before = hosts.traffic()
        _run_job(hosts, command, environment, out, num_trainers, timeout_s)
        traffic = traffic_between(before, hosts.traffic())
        trainers = [
            json.loads((out / f"trainer-{rank}.json").read_text()) for rank in range(num_trainers)
        ]
        accuracy = exact_accuracy(parts, out / "weights.npz")
    return DistDglRun(
        epochs=tuple(tuple(trainer["epochs"]) for trainer in trainers),
        accuracy=accuracy,
        traffic=traffic,
        peak_memory_bytes=max(trainer["peak_memory_bytes"] for trainer in trainers),
    )


def _environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(_REPOSITORY), os.environ.get("PYTHONPATH")]))
    # Without DGLBACKEND, DGL writes its choice of backend into the user's home.
    return {**os.environ, "DGLBACKEND": "pytorch", "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def _words(config: DistDglConfig, out: Path, parts: Path) -> list[str]:
    options: dict[str, Sequence[object]] = {
        "out": [out],
        "classes": [read_manifest(parts).num_classes],
        "hidden": [config.hidden],
        "fanout": config.fanout,
        "batch-size": [config.batch_size],
        "dropout": [config.dropout],
        "epochs": [config.epochs],
        "lr": [config.lr],
        "seed": [config.seed],
        "threads": [config.threads],
    }
    return [word for name, values in options.items() for word in (f"--{name}", *map(str, values))]


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
