"""Hours of training compressed by small steps: memory over time, and what is left over at the end.

    python -m benchmarks.soak [--quick] [--minibatches N] [--json FILE]

Four ranks, as two machines of two, train on a tiny graph with a policy that steers the halo cache,
checkpoints and prefetching. Then three more jobs end early: by Ctrl-C, by a kill of a rank, and by
a kill of the process that started them. The exit code is 1 if anything was left over or grew.
"""

import argparse
import contextlib
import fcntl
import json
import os
import pty
import secrets
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
from scipy.stats import theilslopes

from benchmarks._commands import make_parts
from benchmarks._harness import over, write_json
from benchmarks._soak_rank import STEPS_PER_EPOCH
from gnnflow.terminal import PlainConsole, Table

ROOT = Path(__file__).parents[1]
NUM_RANKS = 4
GRAPH = "sbm:vertices=8000,edges=40000"
WORDS = ["--ranks", str(NUM_RANKS), "--batch-size", "2", "--fanout", "4,3", "--hidden", "16"]
WORDS += ["--threads", "1", "--eval-every", "0", "--scorer", "decay", "--policy", "bandit"]
WORDS += ["--decide-every", "4", "--cache-fraction", "0.1", "--save-every", "700"]
WORDS += ["--comm-timeout", "120"]
_MARK = "GNNFLOW_SOAK_JOB"
_WARM_UP_SHARE = 0.25
# Of what is in use: a summary has a line for each epoch, and the time of each decision is kept.
GROWTH_LIMIT_BYTES = 1 << 20
STEP_LIMIT_BYTES = 4 << 20
_GONE_WITHIN_S = 60.0


@dataclass(slots=True)
class Job:
    """A job of several ranks under watch."""

    folder: Path
    process: subprocess.Popen[bytes]
    mark: str
    shared_before: set[str]
    samples: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """By rank, minibatches done and bytes of memory of its own."""
    terminal: int = -1
    """Descriptor of the side of the job's terminal where somebody types."""

    def processes(self) -> list[psutil.Process]:
        """All that the job started and that runs still."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(_MARK) == self.mark:
                    found.append(process)
        return found

    def ranks(self) -> dict[int, psutil.Process]:
        """The processes of the ranks."""
        found = {}
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                rank = process.environ().get("PMI_RANK")
                if rank is not None and "_soak_rank" in " ".join(process.cmdline()):
                    found[int(rank)] = process
        return found

    def num_minibatches(self) -> int:
        """Minibatches that each rank has done, as far as rank 0 has written it."""
        path = self.folder / "run" / "metrics.jsonl"
        if not path.exists():
            return 0
        with path.open("rb") as file:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b"")) // 4

    def wait_for_minibatches(self, num: int) -> None:
        """Waits until training has come so far."""
        while self.num_minibatches() < num:
            if self.process.poll() is not None:
                raise RuntimeError(f"the job ended early: {self.error()}")
            time.sleep(0.1)

    def error(self) -> str:
        """What the job said on stderr."""
        return (self.folder / "stderr").read_text(errors="replace").strip()

    def leftovers(self) -> list[str]:
        """What is there after the end and should not be; processes get some time to end."""
        deadline = time.monotonic() + _GONE_WITHIN_S
        while (running := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        found = [f"process {process.pid}" for process in running]
        names = [path.name for path in (self.folder / "tmp").iterdir()]
        # torch's cache is meant to stay: one folder, whatever the number of jobs.
        found += [f"temporary file {name}" for name in names if "torchinductor" not in name]
        orphans = shared_memory() - self.shared_before - mapped_by_anybody()
        return found + [f"shared memory {name}" for name in sorted(orphans)]


def shared_memory() -> set[str]:
    """Names in this machine's shared memory."""
    return {path.name for path in Path("/dev/shm").iterdir()}


def mapped_by_anybody() -> set[str]:
    """Names in shared memory that a process uses: jobs of others come and go meanwhile."""
    names = set()
    for path in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            for line in path.read_text(errors="replace").splitlines():
                _, found, name = line.partition("/dev/shm/")
                if found:
                    names.add(name.split(" ")[0])
    return names


@contextlib.contextmanager
def job(parts: Path, folder: Path, num_minibatches: int) -> Iterator[Job]:
    """Starts a job; ends it for certain."""
    (folder / "tmp").mkdir(parents=True)
    mark = secrets.token_hex(8)
    words = [parts, *WORDS, "--epochs", -(-num_minibatches // STEPS_PER_EPOCH)]
    starter = (
        "import sys; from gnnflow.launch import launch; "
        f"launch({NUM_RANKS}, [sys.executable, '-m', 'benchmarks._soak_rank', *sys.argv[1:]])"
    )
    terminal, terminal_of_job = pty.openpty()
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", starter, str(folder), *map(str, words)],
            env=os.environ
            | {_MARK: mark, "TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1"}
            | {"PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            stdin=terminal_of_job,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
    os.close(terminal_of_job)
    running = Job(folder, process, mark, shared_memory(), terminal=terminal)
    try:
        yield running
    finally:
        for left in running.processes():
            with contextlib.suppress(psutil.Error):
                left.kill()
        process.wait()
        os.close(terminal)


def watch_memory(running: Job, every_s: float) -> None:
    """Takes samples of the ranks' memory until the job ends."""
    ranks: dict[int, psutil.Process] = {}
    while running.process.poll() is None:
        num = running.num_minibatches()
        if num and len(ranks) < NUM_RANKS:
            ranks = running.ranks()
        for rank, process in ranks.items():
            with contextlib.suppress(psutil.Error):
                own_bytes = process.memory_full_info().uss
                if own_bytes:  # it is not ending
                    running.samples.setdefault(rank, []).append((num, own_bytes))
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.process.wait(every_s)


def growth_bytes(samples: list[tuple[int, int]]) -> float:
    """Growth of memory from the end of the warm-up to the end, by the median of all slopes.

    So a single step, as when a library takes another block for good, does not look like a leak.
    """
    table = np.array(samples, dtype=np.float64).reshape(-1, 2)
    last = table[:, 0].max(initial=0)
    # When all is done, memory is given back while the job still runs.
    table = table[(table[:, 0] >= _WARM_UP_SHARE * last) & (table[:, 0] < last)]
    if len(np.unique(table[:, 0])) < 3:
        return float("nan")
    slope = theilslopes(table[:, 1], table[:, 0]).slope
    return float(slope * (last - table[0, 0]))


def largest_step_bytes(samples: list[tuple[int, int]]) -> int:
    """The most that came at once after the warm-up."""
    last = max((num for num, _ in samples), default=0)
    later = [num_bytes for num, num_bytes in samples if num >= _WARM_UP_SHARE * last]
    return max((after - before for before, after in pairwise(later)), default=0)


def show_memory(console: PlainConsole, running: Job, num_rows: int = 10) -> None:
    """Prints memory over time."""
    table = Table(title="memory of its own, MB, by rank", title_justify="left")
    table.add_column("minibatches", justify="right")
    for rank in range(NUM_RANKS):
        table.add_column(f"rank {rank}", justify="right")
    longest = min((len(samples) for samples in running.samples.values()), default=0)
    for position in np.unique(np.linspace(0, longest - 1, min(num_rows, longest)).astype(int)):
        rows = [running.samples[rank][int(position)] for rank in range(NUM_RANKS)]
        table.add_row(str(rows[0][0]), *(f"{own_bytes / 1e6:.1f}" for _, own_bytes in rows))
    console.print(table)


def end_early(how: str, running: Job, num_minibatches: int) -> None:
    """Ends a job in mid-training."""
    running.wait_for_minibatches(num_minibatches)
    if how == "Ctrl-C":
        os.write(running.terminal, b"\x03")
    elif how == "kill of rank 2":
        running.ranks()[2].kill()
    else:
        running.process.kill()
    running.process.wait(_GONE_WITHIN_S)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few hundred minibatches")
    parser.add_argument("--minibatches", type=int, default=20_000, help="of each rank")
    parser.add_argument("--json", type=Path, help="where the samples go")
    arguments = parser.parse_args()
    num_minibatches = 400 if arguments.quick else arguments.minibatches
    console = PlainConsole()
    problems: list[str] = []
    record: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="soak-") as scratch:
        folder = Path(scratch)
        make_parts(folder / "parts", NUM_RANKS, "--generate", GRAPH)
        began = time.monotonic()
        with job(folder / "parts", folder / "long", num_minibatches) as running:
            watch_memory(running, 0.5 if arguments.quick else 5.0)
            if running.process.returncode != 0:
                raise SystemExit(f"the job failed: {running.error()}")
            done, elapsed_s = running.num_minibatches(), time.monotonic() - began
            console.print(f"{done} minibatches on each of {NUM_RANKS} ranks in {elapsed_s:.0f} s")
            show_memory(console, running)
            for rank, samples in sorted(running.samples.items()):
                left = json.loads((folder / "long" / f"left-{rank}.json").read_text())
                growth, in_use = growth_bytes(samples), growth_bytes(left["in_use"])
                step = largest_step_bytes(left["in_use"])
                console.print(
                    f"rank {rank}: {growth / 1e6:+.2f} MB after the first quarter; "
                    f"in use {in_use / 1e6:+.2f} MB, "
                    f"{over(in_use, 0.75 * done):+.0f} bytes a minibatch, "
                    f"{step / 1e6:.2f} MB at once"
                )
                if step > STEP_LIMIT_BYTES:
                    problems.append(f"rank {rank} took {step / 1e6:.1f} MB more at once")
                if in_use > GROWTH_LIMIT_BYTES and not arguments.quick:
                    problems.append(f"rank {rank} has {in_use / 1e6:.1f} MB more in use")
                for name, before in left["before"].items():
                    if left["after"][name] > before:
                        problems.append(f"rank {rank}: {name} {before} -> {left['after'][name]}")
                record[f"rank {rank}"] = {"samples": samples, **left}
                console.print(f"rank {rank}, after the context was closed: {left['after']}")
            problems += [f"normal end: {what}" for what in running.leftovers()]
        for how in ("Ctrl-C", "kill of rank 2", "kill of the starter"):
            with job(folder / "parts", folder / how.replace(" ", "-"), 10**6) as running:
                end_early(how, running, 200)
                found = running.leftovers()
                for line in running.error().splitlines() or ["nothing is said"]:
                    console.print(f"{how}: {line}", highlight=False, soft_wrap=True)
            problems += [f"{how}: {what}" for what in found]
    for problem in problems:
        console.print(f"left over or grown: {problem}", soft_wrap=True)
    if not problems:
        console.print("nothing is left over")
    write_json(arguments.json, record | {"problems": problems}, indent=1)
    raise SystemExit(1 if problems else 0)


if __name__ == "__main__":
    main()
