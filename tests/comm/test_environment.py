import pytest

from gnnflow.comm import Launch, detect_launch


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
