"""What the environment says about how this process was started."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from gnnflow.errors import CommError

OPEN_MPI_LAUNCHER = "Open MPI's mpiexec"

# A launcher announces itself by its number of ranks; the first variable that is set decides.
# SLURM's own variables are set for the shell of a job too, so only those of a step count.
_LAUNCHERS = (
    (OPEN_MPI_LAUNCHER, "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("MPICH's mpiexec", "PMI_SIZE", "PMI_RANK"),
    ("srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """A start by an MPI launcher."""

    launcher: str
    num_ranks: int
    rank: int


def detect_launch(environment: Mapping[str, str] | None = None) -> Launch | None:
    """Says whether an MPI launcher started this process, without loading MPI.

    Args:
        environment: variables to read; those of this process by default.

    Returns:
        What the launcher announced, or None for a process started on its own.
    """
    variables = os.environ if environment is None else environment
    for launcher, size_name, rank_name in _LAUNCHERS:
        size, rank = variables.get(size_name, ""), variables.get(rank_name, "")
        if not (size.isdigit() and rank.isdigit()):
            continue
        if launcher == "srun" and variables.get("SLURM_STEP_ID") in (None, "batch", "interactive"):
            continue
        return Launch(launcher=launcher, num_ranks=int(size), rank=int(rank))
    return None


def check_no_torchrun(environment: Mapping[str, str] | None = None) -> None:
    """Refuses processes that torchrun has started, each of which would take itself for the job.

    Args:
        environment: variables to read; those of this process by default.

    Raises:
        CommError: if torchrun started several processes and no MPI launcher did.
    """
    variables = os.environ if environment is None else environment
    number = variables.get("WORLD_SIZE", "1")
    if "TORCHELASTIC_RUN_ID" in variables and number != "1" and detect_launch(variables) is None:
        raise CommError(
            f"torchrun started {number} processes, but ranks meet through MPI; start them without "
            f"it: gnnflow-train PARTS --ranks {number}, or mpiexec -n {number} python PROGRAM"
        )


def is_on_one_machine(environment: Mapping[str, str] | None = None) -> bool:
    """Says whether the launcher has put all ranks of the job on this machine.

    Args:
        environment: variables to read; those of this process by default.

    Returns:
        False also where that cannot be known.
    """
    variables = os.environ if environment is None else environment
    launch = detect_launch(variables)
    if launch is None:
        return False
    if launch.launcher == "srun":
        return variables.get("SLURM_STEP_NUM_NODES") == "1"
    local = variables.get("OMPI_COMM_WORLD_LOCAL_SIZE", variables.get("MPI_LOCALNRANKS"))
    return local == str(launch.num_ranks)
