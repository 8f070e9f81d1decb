"""Starting the ranks of a job with the MPI that is installed beside this Python."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from gnnflow.comm.environment import detect_launch
from gnnflow.comm.job_process import JobProcess
from gnnflow.errors import CommError, ConfigError

# Without these Open MPI refuses to run as root, refuses more ranks than cores, binds each rank to
# one core whatever its threads, and prefers a one-sided component that needs special hardware.
_OPEN_MPI_SETTINGS = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
    "OMPI_MCA_osc": "^ucx",
}


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
    environment = dict(os.environ)
    version = subprocess.run(
        [mpiexec, "--version"], capture_output=True, text=True, check=False, env=environment
    )
    if "Open MPI" in version.stdout + version.stderr or "open-mpi" in version.stdout:
        environment = _OPEN_MPI_SETTINGS | environment
    return environment


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
    environment = launch_environment(mpiexec)
    sys.stdout.flush()
    sys.stderr.flush()
    command = [str(mpiexec), "-n", str(num_ranks), *argv]
    sys.exit(JobProcess(command, environment, num_ranks, remedy=remedy).run())
