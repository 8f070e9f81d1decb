import os
import sys
from pathlib import Path

import pytest

from gnnflow.comm.launch import find_mpiexec, launch, launch_environment
from gnnflow.errors import CommError, ConfigError


def fake_mpiexec(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True)
    path = folder / "mpiexec"
    path.write_text(f"#!/bin/sh\necho '{version}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python with no MPI beside it and none on PATH."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return tmp_path


def test_the_launcher_beside_python_goes_first(elsewhere: Path) -> None:
    with pytest.raises(CommError, match="no mpiexec beside .*venv/python or on PATH; install"):
        find_mpiexec()
    on_path = fake_mpiexec(elsewhere / "path", "HYDRA")
    assert find_mpiexec() == on_path
    beside = fake_mpiexec(elsewhere / "venv", "HYDRA")
    assert find_mpiexec() == beside


def test_open_mpi_gets_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = dict(os.environ)
    hydra = fake_mpiexec(tmp_path / "mpich", "HYDRA build details")
    assert launch_environment(hydra) == before
    open_mpi = fake_mpiexec(tmp_path / "openmpi", "mpiexec (Open MPI) 5.0.11")
    monkeypatch.setenv("OMPI_MCA_osc", "mine")
    environment = launch_environment(open_mpi)
    assert environment["OMPI_ALLOW_RUN_AS_ROOT"] == "1"
    assert environment["PRTE_MCA_rmaps_default_mapping_policy"] == ":oversubscribe"
    assert environment["OMPI_MCA_osc"] == "mine"
    assert "OMPI_ALLOW_RUN_AS_ROOT" not in os.environ


def test_launch_replaces_the_process(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executed: list[list[str]] = []
    monkeypatch.setattr(os, "execve", lambda path, argv, environment: executed.append(argv))
    mpiexec = fake_mpiexec(elsewhere / "venv", "HYDRA")
    launch(4, ["python", "train.py"])
    assert executed == [[str(mpiexec), "-n", "4", "python", "train.py"]]


def test_launch_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="ranks must be at least 1, got 0"):
        launch(0, ["python"])
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setenv("PMI_RANK", "0")
    with pytest.raises(CommError, match="MPICH's mpiexec already started 2 ranks; leave out"):
        launch(4, ["python"])
