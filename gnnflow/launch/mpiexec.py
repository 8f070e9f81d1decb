"""Starting the ranks of a job with the MPI that is installed beside this Python."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from gnnflow.errors import CommError, ConfigError
from gnnflow.launch.child_processes import JobCommand
from gnnflow.launch.environment import detect_launch
from gnnflow.launch.job_process import JobProcess
from gnnflow.launch.rank_processes import RankProcesses

# Without these Open MPI refuses to run as root, refuses more ranks than cores, binds each rank to
# one core whatever its threads, and prefers a one-sided component that needs special hardware.
_OPEN_MPI_SETTINGS = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
    "OMPI_MCA_osc": "^ucx",
}
# What tells Hydra where and how to start ranks: by the user, or by SLURM, PBS, LSF, SGE and COBALT.
_HYDRA_SETTINGS = (
    *("HYDRA_", "MPIEXEC_", "SLURM_JOB_NODELIST", "SLURM_NODELIST", "PBS_NODEFILE"),
    *("LSB_HOSTS", "LSB_MCPU_HOSTS", "PE_HOSTFILE", "COBALT_NODEFILE"),
)


def find_mpiexec() -> Path:
    """Finds the launcher of the MPI that this Python uses.

    The one beside the interpreter goes before the one on PATH: it belongs to the MPI library that
    mpi4py loads from the same environment.

    Raises:
        CommError: if there is none.
    """
    for folder in (str(Path(sys.executable).parent), None):
        found = shutil.which("mpiexec", path=folder)
        if found is not None:
            return Path(found)
    raise CommError(
        f"no mpiexec beside {sys.executable} or on PATH; install an MPI with "
        'pip install "gnnflow[mpich]", or load the one of this machine'
    )


def launch_environment(mpiexec: Path) -> dict[str, str]:
    """Returns the environment in which a launcher starts ranks.

    Args:
        mpiexec: the launcher.

    Returns:
        The variables of this process, with those that Open MPI needs where they are not set.
    """
    return _environment_for(_version_of(mpiexec))


def _version_of(mpiexec: Path) -> str:
    ended = subprocess.run([mpiexec, "--version"], capture_output=True, text=True, check=False)
    return ended.stdout + ended.stderr


def _environment_for(version: str) -> dict[str, str]:
    is_open_mpi = "Open MPI" in version or "open-mpi" in version
    return _OPEN_MPI_SETTINGS | os.environ if is_open_mpi else dict(os.environ)


def _needs_launcher(version: str) -> bool:
    """Whether only the launcher knows how its ranks are started, or on which machines.

    MPICH's own, Hydra, asks the scheduler of a cluster and its variables for machines. Where there
    are none of these it would start all ranks on this one.
    """
    settings = [name for name in os.environ if name.startswith(_HYDRA_SETTINGS)]
    return "HYDRA" not in version or bool(settings) or not _can_follow_processes()


def _can_follow_processes() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):  # not a Linux that has it
        return False
    return True


def launch(num_ranks: int, argv: Sequence[str], *, remedy: str = "") -> NoReturn:
    """Runs a command on several ranks and ends this process as they end.

    If a rank is killed, one line says which, by what and at which step.

    Args:
        num_ranks: how many ranks to start.
        argv: the command and its arguments, as `[sys.executable, "train.py"]`.
        remedy: what the user may do if a rank is killed, in words, for that line.

    Raises:
        CommError: if there is no launcher, or if this process is already a rank of a job.
        ConfigError: if `num_ranks` is less than 1.
    """
    if num_ranks < 1:
        raise ConfigError(f"ranks must be at least 1, got {num_ranks}")
    running = detect_launch()
    if running is not None and running.num_ranks > 1:
        raise CommError(
            f"{running.launcher} already started {running.num_ranks} ranks; "
            f"leave out --ranks {num_ranks}, or start without the launcher"
        )
    mpiexec = find_mpiexec()
    version = _version_of(mpiexec)
    environment = _environment_for(version)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # closed, or nobody reads
            stream.flush()
    needs_launcher = _needs_launcher(version)
    if needs_launcher:
        argv = [str(mpiexec), "-n", str(num_ranks), *argv]
    job = JobCommand(command=argv, environment=environment, num_ranks=num_ranks, remedy=remedy)
    sys.exit(JobProcess(job).run() if needs_launcher else RankProcesses(job).run())
