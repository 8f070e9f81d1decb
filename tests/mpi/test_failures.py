import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ranks import run_ranks

from gnnflow.launch.mpiexec import find_mpiexec

JOB = str(Path(__file__).with_name("failing_job.py"))
TIMED_OUT = "within 3 s (--comm-timeout): "


def lines_of(ended: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in ended.stderr.splitlines() if line.startswith("failing_job.py:")]


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("one raises", "error on rank 1: label 9 is too large use less"),
        ("no with, one raises", "error on rank 1: label 9 is too large"),
        ("all raise", "error: label 9 is too large"),
        ("one has a bug", "error on rank 2: KeyError: 'missing'"),
        ("all have a bug", "error: KeyError: 'missing'"),
        (
            "one has no descriptors left",
            "error on rank 1: at epoch 3, step 14: too many open files; raise the limit, "
            "as by ulimit -n 65536",
        ),
        ("one aborts", "error on rank 1: that is enough"),
    ],
)
def test_an_error_ends_all_ranks_with_one_line(what: str, line: str) -> None:
    ended = run_ranks(4, [JOB, what], limit_s=60)
    assert ended.returncode == 1
    assert lines_of(ended) == [f"failing_job.py: {line}"]
    assert ended.stderr.count("Traceback") == ("bug" in what)


@pytest.mark.parametrize(
    ("what", "code", "lines"),
    [
        ("one exits", 3, ["failing_job.py: error on rank 1: ended with exit code 3"]),
        ("one is interrupted", 130, ["failing_job.py: error on rank 1: interrupted"]),
        ("all exit with 0", 0, []),
        ("no with, nobody closes", 0, []),
        ("one leaves before its answer", 0, []),
    ],
)
def test_exit_codes(what: str, code: int, lines: list[str]) -> None:
    ended = run_ranks(2, [JOB, what], limit_s=60)
    assert ended.returncode == code
    assert lines_of(ended) == lines


@pytest.mark.parametrize(
    ("what", "blame"),
    [
        (
            "one is stopped, the others are at a barrier",
            f"no end of a barrier at epoch 3, step 14 {TIMED_OUT}rank 2 does not respond",
        ),
        (
            "one is stopped, another asks it",
            f"no end of an echo at epoch 3, step 14 {TIMED_OUT}rank 2 does not respond",
        ),
        (
            "one never serves",
            f"no end of an echo at epoch 3, step 14 {TIMED_OUT}"
            "rank 2 responds, at epoch 3, step 14, but has not answered",
        ),
        (
            "one is late for a barrier",
            f"no end of a barrier at epoch 3, step 14 {TIMED_OUT}"
            "rank 2 responds, at reading a book, but has not come to it",
        ),
    ],
)
def test_a_time_out_names_the_rank_that_owes_the_answer(what: str, blame: str) -> None:
    ended = run_ranks(3, [JOB, what], limit_s=60)
    assert ended.returncode == 1
    (line,) = lines_of(ended)
    assert line.startswith("failing_job.py: error on rank ")
    assert line.endswith(blame)


def test_a_time_out_names_the_rank_that_was_held_up() -> None:
    ended = run_ranks(3, [JOB, "one is stopped until the others ask who is missing"], limit_s=60)
    assert ended.returncode == 1
    (line,) = lines_of(ended)
    where = re.escape(f"no end of a barrier at epoch 3, step 14 {TIMED_OUT}")
    assert re.search(rf"{where}rank 2 was held up for \d+ s$", line), line


def test_an_answer_that_fails_ends_the_job() -> None:
    ended = run_ranks(3, [JOB, "an answer fails"], limit_s=60)
    assert ended.returncode == 1
    assert lines_of(ended) == [
        "failing_job.py: error on rank 2: IndexError: tuple index out of range"
    ]


def test_shared_transport_across_machines_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "job.py"
    script.write_text(
        "import os, gnnflow, gnnflow.launch\n"
        "os.environ['GNNFLOW_HOST'] = f'host{gnnflow.launch.detect_launch().rank}'\n"
        "gnnflow.init(transport='shared')\n"
    )
    ended = run_ranks(2, [str(script)], limit_s=60)
    assert ended.returncode == 1
    message = "transport shared needs all ranks on one machine, got 2; use auto"
    ours = [line for line in ended.stderr.splitlines() if line.startswith("job.py")]
    assert ours == [f"job.py: error: {message}"]


def test_mpi_without_threads_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "job.py"
    script.write_text(
        "import mpi4py\n"
        "mpi4py.rc.thread_level = 'single'\n"
        "from mpi4py import MPI\n"
        "import gnnflow\n"
        "try:\n"
        "    gnnflow.init()\n"
        "except gnnflow.GnnflowError as error:\n"
        "    print(error)\n"
    )
    ended = run_ranks(2, [str(script)], limit_s=60)
    # The lines of the two ranks may come mixed.
    assert ended.stdout.count("gives this job the thread level SINGLE") == 2
    assert ended.stdout.count("needs SERIALIZED") == 2


def test_a_launcher_of_another_mpi_is_recognised() -> None:
    command = [sys.executable, "-c", "import gnnflow; gnnflow.init()"]
    ours = subprocess.run([find_mpiexec(), "--version"], capture_output=True, text=True, check=True)
    environment = {"PMI_SIZE": "4", "PMI_RANK": "0"}
    if "Open MPI" not in ours.stdout:
        environment = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "0"}
    ended = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert "mpiexec started 4 ranks, but it belongs to another MPI than" in ended.stderr


def test_one_process_never_loads_mpi_and_comm_never_loads_torch() -> None:
    program = (
        "import sys, gnnflow, gnnflow.graph\n"
        "with gnnflow.init() as ctx: ctx.barrier()\n"
        "print([name for name in ('mpi4py', 'torch', 'matplotlib') if name in sys.modules])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "[]\n"
