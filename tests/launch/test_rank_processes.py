"""Ranks that are started without a launcher: what they get, and how each of their ends is told.

The ranks are small programs that speak PMI themselves, so that nothing heavy is loaded.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from gnnflow.errors import CommError
from gnnflow.launch.child_processes import JobCommand
from gnnflow.launch.mpiexec import _HYDRA_SETTINGS, _needs_launcher
from gnnflow.launch.process_manager import ProcessManager
from gnnflow.launch.rank_processes import RankProcesses

PRELUDE = """
import os, signal, sys, time
rank = int(os.environ["PMI_RANK"])
pipe = int(os.environ["PMI_FD"])
def ask(words):
    os.write(pipe, words.encode() + b"\\n")
    return os.read(pipe, 10000).decode()
def hang():
    print("hanging", flush=True)
    time.sleep(60)
"""


def run(program, *, flags=("-S", "-E"), remedy=""):
    command = [sys.executable, *flags, "-c", PRELUDE + program]
    job = JobCommand(command=command, environment=os.environ, num_ranks=2, remedy=remedy)
    return RankProcesses(job).run()


def last_line(capfd):
    program = re.escape(Path(sys.argv[0]).name)
    (line,) = capfd.readouterr().err.splitlines()
    return re.sub(rf"^{program}: error: ", "", line)


def test_ranks_meet_over_their_sockets(capfd):
    """What MPICH asks when it starts."""
    code = run(
        """
assert "pmi_version=1" in ask("cmd=init pmi_version=1 pmi_subversion=1")
assert ask("cmd=get kvsname=gnnflow key=PMI_process_mapping").strip().endswith("(vector,(0,1,2))")
ask(f"cmd=put kvsname=gnnflow key=card{rank} value=card of {rank}")
assert ask("cmd=barrier_in").startswith("cmd=barrier_out")
other = ask(f"cmd=get kvsname=gnnflow key=card{1 - rank}")
assert ask("cmd=finalize").startswith("cmd=finalize_ack")
print(other.partition("value=")[2].strip(), os.environ["MPI_LOCALNRANKS"])
print(len(sys.stdin.read()) if rank else "")
"""
    )
    shown = capfd.readouterr()
    assert (code, shown.err) == (0, "")
    assert sorted(shown.out.split("\n")) == ["", "", "0", "card of 0 2", "card of 1 2"]


@pytest.fixture(autouse=True)
def listens_to_interrupts():
    """Also where the tests run in the background of a script, which ignores them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("program", "code", "line"),
    [
        ("if rank: os.kill(os.getpid(), 9)\nhang()", 137, "SIGKILL.* while it started .*memory"),
        ("ask('cmd=init'); ask(f'cmd=abort exitcode={7 + rank}') if rank else hang()", 8, None),
        ("sys.exit(5) if rank else hang()", 5, None),
        (
            "ask('cmd=init')\nif rank == 0: ask('cmd=barrier_in')",
            1,
            r"rank 1 \(process \d+ on .*\) has ended with exit code 0 while other ranks wait",
        ),
        ("os.write(pipe, b'x' * 70000); sys.exit(4)", 4, None),
        ("os.kill(os.getppid(), signal.SIGINT) if rank else hang()\nhang()", 130, "^interrupted$"),
        ("os.kill(os.getppid(), signal.SIGTERM) if rank else 0\nhang()", 143, "ended by .*SIGTERM"),
        ("os.kill(os.getppid(), signal.SIGHUP) if rank else 0\nhang()", 129, "ended by .*SIGHUP"),
        (
            # It does not want to end: the second time it must.
            "signal.signal(15, lambda *_: os.kill(os.getppid(), 2))\n"
            "os.kill(os.getppid(), 2)\nwhile True: time.sleep(1)",
            130,
            "^interrupted$",
        ),
        (
            # One that is stopped hears of the end too.
            "if rank: os.kill(os.getpid(), signal.SIGSTOP)\n"
            "os.kill(os.getppid(), 2)\nwhile True: time.sleep(1)",
            130,
            "^interrupted$",
        ),
        ("signal.signal(15, lambda *_: sys.exit(3))\nos.kill(os.getppid(), 15)\nhang()", 3, None),
    ],
)
def test_how_a_job_ends(capfd, monkeypatch, program, code, line):
    monkeypatch.setattr("gnnflow.launch.rank_processes._SETTLE_S", 0.1)
    assert run(program) == code
    if line is None:
        assert capfd.readouterr().err == ""
    else:
        assert re.search(line, last_line(capfd))


def test_a_rank_that_is_killed_is_named_with_its_step_and_a_remedy(capfd, monkeypatch):
    root = Path(__file__).parents[2]
    code = run(
        f"sys.path.insert(0, {str(root)!r})\n"
        "from gnnflow.launch.rank_board import OWN_SLOT\n"
        "OWN_SLOT.join(rank)\n"
        "OWN_SLOT.note_step('epoch 3, step 4')\n"
        "if rank == 0: ask('cmd=barrier_in')\n"
        "os.kill(os.getpid(), signal.SIGSEGV)\n",
        flags=(),
        remedy="do better",
    )
    assert code == 128 + 11
    assert re.fullmatch(
        r"rank 1 \(process \d+ on \S+\) was killed by signal 11 \(SIGSEGV\) at epoch 3, step 4"
        r"( \(/dev/shm.*\))?; do better",
        last_line(capfd),
    )


def test_signals_that_are_ignored_stay_so(capfd):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as by nohup
    try:
        assert run("os.kill(os.getppid(), signal.SIGHUP)") == 0
    finally:
        signal.signal(signal.SIGHUP, before)
    assert capfd.readouterr().err == ""


STARTER = (
    "import os, sys; from gnnflow.launch.child_processes import JobCommand\n"
    "from gnnflow.launch.rank_processes import RankProcesses\n"
    "command = [sys.executable, '-S', '-E', '-c', sys.argv[1]]\n"
    "job = JobCommand(command=command, environment=os.environ, num_ranks=2)\n"
    "sys.exit(RankProcesses(job).run())"
)


def start(program, **options):
    command = [sys.executable, "-c", STARTER, PRELUDE + program]
    return subprocess.Popen(command, text=True, **options)


def test_nobody_reads_what_is_printed():
    """As behind `| head -1`; far more than a pipe holds."""
    process = start(
        "for _ in range(30000): print('a line of some length', flush=True)",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline() == "a line of some length\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(60) == 0
    process.stderr.close()


def test_a_pipe_that_does_not_wait_loses_nothing():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    process = start("print('a line of some length\\n' * 5000, end='')", stdout=writing)
    os.close(writing)
    with open(reading) as lines:
        # Lines of two ranks may be in each other.
        assert Counter(lines.read()) == Counter("a line of some length\n" * 10_000)
    assert process.wait(60) == 0


def test_what_is_printed_does_not_fit_on_the_disk():
    with open("/dev/full", "w") as full:
        process = start("print('a line')", stdout=full, stderr=subprocess.PIPE)
        _, said = process.communicate(timeout=60)
    assert said == (
        "-c: warning: what the ranks printed cannot be written: No space left on device\n"
    )
    assert process.returncode == 0


def test_ranks_end_with_the_process_that_started_them():
    process = start("print(os.getpid(), flush=True)\ntime.sleep(60)", stdout=subprocess.PIPE)
    pids = [int(process.stdout.readline()) for _ in range(2)]
    process.kill()
    process.wait(60)
    assert process.stdout.read() == ""  # the pipe ends when the last of them has
    process.stdout.close()
    end = time.monotonic() + 60
    while any(map(is_running, pids)):  # a process closes its files before it has ended
        assert time.monotonic() < end
        time.sleep(0.01)


def is_running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def test_a_rank_that_cannot_start(tmp_path):
    command = [str(tmp_path / "missing")]
    ranks = RankProcesses(JobCommand(command=command, environment=os.environ, num_ranks=2))
    with pytest.raises(CommError, match="cannot start rank 0 of 2: .*missing.*; use fewer ranks"):
        ranks.run()


def test_nonsense_from_a_rank_is_refused():
    sent = []
    manager = ProcessManager(2, lambda rank, data: sent.append((rank, data)))
    assert manager.feed(0, b"\xff\xfe nonsense\ncmd=spawn nprocs=2\n")
    assert manager.feed(0, b"cmd=abort exitcode=x")
    assert manager.aborted is None
    assert manager.feed(0, b"\n") and manager.aborted == 1
    assert not manager.feed(1, b"x" * 70_000)
    assert sent == [(0, b"cmd=spawn_result rc=-1 msg=not_supported\n")]


def test_no_two_jobs_have_the_same_name():
    """MPICH names shared memory after it, and the ranks of both would meet there."""
    names = []
    for _ in range(2):
        ProcessManager(1, lambda rank, data: names.append(data)).feed(0, b"cmd=get_my_kvsname\n")
    assert len(set(names)) == 2
    assert all(name.startswith(b"cmd=my_kvsname rc=0 kvsname=gnnflow-") for name in names)


@pytest.mark.parametrize(
    ("version", "variables", "needed"),
    [
        ("HYDRA build details", {}, False),
        ("HYDRA build details", {"SLURM_JOB_NODELIST": "n[1-4]"}, True),
        ("HYDRA build details", {"HYDRA_HOST_FILE": "hosts"}, True),
        ("mpiexec (Open MPI) 5.0.11", {}, True),
    ],
)
def test_who_starts_the_ranks(monkeypatch, version, variables, needed):
    for name in list(os.environ):
        if name.startswith(_HYDRA_SETTINGS):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert _needs_launcher(version) is needed
