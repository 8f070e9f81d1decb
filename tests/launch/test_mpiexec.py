import os
import subprocess
import sys
from pathlib import Path

import pytest

from gnnflow.errors import CommError, ConfigError
from gnnflow.launch.job_process import BannerFilter
from gnnflow.launch.mpiexec import find_mpiexec, launch, launch_environment

PYTHON = sys.executable
BANNER = (
    b"\n" + b"=" * 83 + b"\n"
    b"=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES\n"
    b"=   PID 30112 RUNNING AT vm\n=   EXIT CODE: 9\n" + b"=" * 83 + b"\n"
    b"YOUR APPLICATION TERMINATED WITH THE EXIT STRING: Killed (signal 9)\n"
    b"This typically refers to a problem with your application.\n"
    b"Please see the FAQ page for debugging suggestions\n"
)


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


def test_launch_ends_as_the_launcher_does(
    elsewhere: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mpiexec = fake_mpiexec(elsewhere / "venv", "another MPI")
    mpiexec.write_text('#!/bin/sh\necho "words $@"; [ "$1" = --version ] || exit 7\n')
    with pytest.raises(SystemExit) as ended:
        launch(4, ["python", "train.py"])
    assert ended.value.code == 7
    assert capfd.readouterr() == ("words -n 4 python train.py\n", "")


@pytest.mark.parametrize("reports", [True, False])
def test_a_killed_rank_is_told(
    elsewhere: Path, capfd: pytest.CaptureFixture[str], reports: bool
) -> None:
    """A launcher that starts one rank, which is killed unless it says why the job ends."""
    (elsewhere / "rank.py").write_text(
        "import os, signal\n"
        "from gnnflow.launch.rank_board import OWN_SLOT\n"
        "OWN_SLOT.join(1)\n"
        "OWN_SLOT.note_step('epoch 3, step 4')\n"
        f"{'OWN_SLOT.note_told()' if reports else ''}\n"
        "os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    mpiexec = fake_mpiexec(elsewhere / "venv", "another MPI")
    root = Path(__file__).parents[2]
    mpiexec.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --version ] && exit\n'
        f"PYTHONPATH={root} {PYTHON} {elsewhere / 'rank.py'}\n"
        # As seen when a rank's end is noticed after the launcher's.
        f"printf '{BANNER.decode().replace('signal 9', 'signal 11')}'\n"
        "exit 11\n"
    )
    with pytest.raises(SystemExit) as ended:
        launch(2, ["python", "train.py"], remedy="do better")
    shown = capfd.readouterr()
    assert shown.out == ""
    lines = [line for line in shown.err.splitlines() if "error" in line]
    if reports:
        assert (ended.value.code, lines) == (11, [])
        return
    assert ended.value.code == 128 + 11
    (line,) = lines
    assert "error: rank 1 (process " in line
    assert line.endswith(" was killed by signal 11 (SIGSEGV) at epoch 3, step 4; do better")


def test_a_launcher_that_is_killed_is_told(
    elsewhere: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mpiexec = fake_mpiexec(elsewhere / "venv", "another MPI")
    mpiexec.write_text('#!/bin/sh\n[ "$1" = --version ] || kill -9 $$\n')
    with pytest.raises(SystemExit) as ended:
        launch(2, ["python", "train.py"])
    assert ended.value.code == 137
    assert "mpiexec, which runs the ranks, was killed by signal 9" in capfd.readouterr().err


def test_signals_reach_the_ranks(tmp_path: Path) -> None:
    """What only the starting process gets, it hands on, and then waits for the end."""
    venv = tmp_path / "venv"
    fake_mpiexec(venv, "another MPI").write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exit\n'
        "trap 'echo stopping; exit 3' TERM\necho ready\nwhile :; do sleep 0.02; done\n"
    )
    (venv / "python").symlink_to(PYTHON)
    program = (
        "import sys; from gnnflow.launch import launch\n"
        f"sys.executable = {str(venv / 'python')!r}; launch(2, ['python'])"
    )
    process = subprocess.Popen(
        [PYTHON, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    assert process.communicate(timeout=60) == ("stopping\n", "")
    assert process.returncode == 3


@pytest.mark.parametrize("piece_bytes", [1, 7, 50, 10_000])
def test_the_banner_is_taken_out(piece_bytes: int) -> None:
    text = b"loss 1\n\n=== a table ===\n\r live" + b"\nlast line\n\n" + BANNER + b"epoch\n\nend"
    banner = BannerFilter()
    pieces = [text[start : start + piece_bytes] for start in range(0, len(text), piece_bytes)]
    shown = b"".join(banner.feed(piece) for piece in pieces) + banner.finish()
    assert shown == text.replace(BANNER, b"")
    assert banner.signal == 9


def test_a_live_line_is_shown_at_once() -> None:
    banner = BannerFilter()
    assert banner.feed(b"\r epoch 3") == b"\r epoch 3"
    assert banner.feed(b" loss\n\n") == b" loss\n"
    assert banner.finish() == b"\n"


def test_launch_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="ranks must be at least 1, got 0"):
        launch(0, ["python"])
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setenv("PMI_RANK", "0")
    with pytest.raises(CommError, match="MPICH's mpiexec already started 2 ranks; leave out"):
        launch(4, ["python"])
