"""What this machine has, looked at from one process, one finding for each thing."""

import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import psutil

from gnnflow.units import human_bytes

_SHARED_MEMORY = Path("/dev/shm")
_LITTLE_SHARED_MEMORY = 1 << 30
OPTIONAL_PACKAGES = {
    "parquet": ("pyarrow",),
    "plot": ("matplotlib",),
    "report": ("jinja2",),
    "classifier": ("sklearn", "skops"),
    "llm": ("accelerate", "gguf", "transformers"),
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
    "ogb": ("ogb",),
}
"""Extras and the packages that they bring."""

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One line of the diagnosis."""

    name: str
    """What was looked at."""
    state: State
    """`ok`; `note` for what could be better; `problem` for what keeps jobs from running."""
    value: str
    """What is there."""
    advice: str = ""
    """What to change; nothing if all is well."""


def check_machine(num_ranks: int, environment: Mapping[str, str] | None = None) -> list[Finding]:
    """Looks at kernels, torch, cores, memory, settings and optional packages.

    Args:
        num_ranks: Ranks that are to run here.
        environment: Variables to read; those of this process by default.
    """
    variables = os.environ if environment is None else environment
    return [
        _kernels(),
        _torch(),
        _cores(num_ranks),
        _memory(num_ranks),
        _shared_memory(_SHARED_MEMORY),
        *_openmp(variables, num_ranks),
        _packages(),
    ]


def _kernels() -> Finding:
    python = f"Python {platform.python_version()}"
    try:
        import gnnflow._kernels  # noqa: F401
    except ImportError as error:
        return Finding(
            name="kernels",
            state="problem",
            value=f"they do not load: {error}",
            advice="install gnnflow again on this machine; kernels built on another may use "
            "instructions that this one lacks (GNNFLOW_NATIVE=0 builds portable ones)",
        )
    return Finding(name="kernels", state="ok", value=f"loaded, {python}")


def _torch() -> Finding:
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    value = f"{torch.__version__}, {torch.get_num_threads()} threads, {gpus or 'no'} GPU"
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        return Finding(
            name="torch",
            state="problem",
            value=f"{value}, without gloo",
            advice="install a build of torch with distributed support",
        )
    return Finding(name="torch", state="ok", value=value)


def _cores(num_ranks: int) -> Finding:
    usable = len(os.sched_getaffinity(0))
    value = f"{usable} for this process, {os.cpu_count()} in the machine"
    if num_ranks > usable:
        return Finding(
            name="cores",
            state="note",
            value=value,
            advice=f"{num_ranks} ranks take turns on {usable} cores: fine for a trial, slow for a "
            "run",
        )
    return Finding(name="cores", state="ok", value=value)


def _memory(num_ranks: int) -> Finding:
    memory = psutil.virtual_memory()
    each = human_bytes(memory.available / num_ranks)
    return Finding(
        name="memory",
        state="ok",
        value=f"{human_bytes(memory.total)}, {human_bytes(memory.available)} free, {each} for each "
        f"of {num_ranks} ranks",
    )


def _shared_memory(folder: Path) -> Finding:
    if not folder.is_dir():
        return Finding(
            name="shared memory",
            state="note",
            value=f"no {folder}",
            advice="use --transport alltoall if MPI cannot share memory here",
        )
    space = shutil.disk_usage(folder)
    value = f"{human_bytes(space.free)} free of {human_bytes(space.total)} in {folder}"
    if space.free < _LITTLE_SHARED_MEMORY:
        return Finding(
            name="shared memory",
            state="note",
            value=value,
            advice="MPI moves messages through it: give a container more (docker run --shm-size "
            f"4g), or remount it: mount -o remount,size=4G {folder}",
        )
    return Finding(name="shared memory", state="ok", value=value)


def _openmp(variables: Mapping[str, str], num_ranks: int) -> list[Finding]:
    findings = []
    threads = variables.get("OMP_NUM_THREADS")
    usable = len(os.sched_getaffinity(0))
    if threads is not None and threads.isdecimal() and int(threads) * num_ranks > usable:
        findings.append(
            Finding(
                name="OMP_NUM_THREADS",
                state="note",
                value=threads,
                advice=f"{num_ranks} ranks with {threads} threads want more than {usable} cores; "
                "unset it, gnnflow divides the cores by the ranks (--threads sets another number)",
            )
        )
    else:
        findings.append(
            Finding(name="OMP_NUM_THREADS", state="ok", value=threads or "not set, as it should be")
        )
    policy = variables.get("OMP_WAIT_POLICY", "")
    if policy.upper() == "ACTIVE":
        findings.append(
            Finding(
                name="OMP_WAIT_POLICY",
                state="note",
                value=policy,
                advice="threads that spin while they wait take the cores of those that sample: "
                "set it to PASSIVE",
            )
        )
    else:
        value = policy or "not set; gnnflow-train sets PASSIVE, programs of your own should"
        findings.append(Finding(name="OMP_WAIT_POLICY", state="ok", value=value))
    return findings


def _packages() -> Finding:
    missing = [
        extra
        for extra, packages in OPTIONAL_PACKAGES.items()
        if any(find_spec(package) is None for package in packages)
    ]
    there = [extra for extra in OPTIONAL_PACKAGES if extra not in missing]
    value = f"installed: {', '.join(there) or 'none'}"
    if missing:
        value += f'; not: {", ".join(missing)} (pip install "gnnflow[NAME]")'
    return Finding(name="extras", state="ok", value=value)
