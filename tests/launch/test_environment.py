import pytest

from gnnflow.errors import CommError
from gnnflow.launch import Launch, detect_launch
from gnnflow.launch.environment import check_no_torchrun, is_on_one_machine


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"PMI_SIZE": "4", "PMI_RANK": "2"}, ("MPICH's mpiexec", 4, 2)),
        (
            {"OMPI_COMM_WORLD_SIZE": "3", "OMPI_COMM_WORLD_RANK": "0", "PMI_SIZE": "9"},
            ("Open MPI's mpiexec", 3, 0),
        ),
        (
            {"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "7", "SLURM_STEP_ID": "0"},
            ("srun", 8, 7),
        ),
        ({"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "0", "SLURM_STEP_ID": "batch"}, None),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, None),
        ({"PMI_SIZE": "four", "PMI_RANK": "2"}, None),
        ({"PMI_SIZE": "4"}, None),
    ],
)
def test_detect_launch(environment: dict[str, str], expected: tuple[str, int, int] | None) -> None:
    launch = detect_launch(environment)
    if expected is None:
        assert launch is None
    else:
        launcher, num_ranks, rank = expected
        assert launch == Launch(launcher=launcher, num_ranks=num_ranks, rank=rank)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"PMI_SIZE": "4", "PMI_RANK": "2", "MPI_LOCALNRANKS": "4"}, True),
        ({"PMI_SIZE": "4", "PMI_RANK": "2", "MPI_LOCALNRANKS": "2"}, False),
        ({"PMI_SIZE": "4", "PMI_RANK": "2"}, False),
        (
            {"OMPI_COMM_WORLD_SIZE": "3", "OMPI_COMM_WORLD_RANK": "0"}
            | {"OMPI_COMM_WORLD_LOCAL_SIZE": "3"},
            True,
        ),
        (
            {"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "7", "SLURM_STEP_ID": "0"}
            | {"SLURM_STEP_NUM_NODES": "1"},
            True,
        ),
        (
            {"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "7", "SLURM_STEP_ID": "0"}
            | {"SLURM_STEP_NUM_NODES": "2"},
            False,
        ),
    ],
)
def test_is_on_one_machine(environment: dict[str, str], expected: bool) -> None:
    assert is_on_one_machine(environment) is expected


def test_torchrun_is_refused() -> None:
    started = {"TORCHELASTIC_RUN_ID": "none", "RANK": "1", "WORLD_SIZE": "2"}
    with pytest.raises(CommError, match=r"torchrun started 2 processes.*--ranks 2, or mpiexec -n"):
        check_no_torchrun(started)
    check_no_torchrun(started | {"PMI_SIZE": "2", "PMI_RANK": "1"})  # mpiexec -n 2 torchrun
    check_no_torchrun(started | {"WORLD_SIZE": "1"})
    check_no_torchrun({"WORLD_SIZE": "2"})  # somebody else's word
