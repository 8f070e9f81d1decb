"""A job of several ranks in which tests run one after the other, heard while it runs.

Importing torch and PyG takes each rank seconds, so all tests of a number of ranks share a job. It
ends with a test that fails, crashes or hangs, which it names; the others get a new job.
"""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from ranks import ROOT, end_program, start_ranks

from gnnflow.launch import detect_launch

RESULTS_VARIABLE = "GNNFLOW_TEST_RESULTS"
PARTS_VARIABLE = "GNNFLOW_TEST_PARTS"
START_S, TEST_S = 120.0, 120.0
"""How long a job may take to its first test, and no test may take longer."""

_POLL_S = 0.02
_TAIL_BYTES = 6000


def note(kind: str, nodeid: str, text: str = "") -> None:
    """On a rank, writes down that a test "started", "passed" or "failed"."""
    launched = detect_launch()
    rank = 0 if launched is None else launched.rank
    path = Path(os.environ[RESULTS_VARIABLE]) / f"rank{rank}.jsonl"
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps([kind, nodeid, text]) + "\n")


class RankJobs:
    """Tests on one number of ranks, and the jobs that run them, one at a time."""

    def __init__(
        self,
        num_ranks: int,
        nodeids: Sequence[str],
        folder: Path,
        *,
        measures: bool = False,
        test_s: float = TEST_S,
        options: Sequence[str] = (),
        root: Path = ROOT,
    ) -> None:
        """Notes what to run; nothing is started yet.

        Args:
            num_ranks: ranks of each job.
            nodeids: the tests, in the order in which they will be asked for.
            folder: where parts are kept, shared by all jobs, and what ranks say.
            measures: whether coverage is measured.
            test_s: seconds after which a test has hung.
            options: further words for pytest on the ranks.
            root: folder that the names of tests start from.
        """
        self._num_ranks = num_ranks
        self._left = list(nodeids)
        self._folder = folder
        self._command = ["-m", "coverage", "run", "--parallel-mode"] if measures else []
        self._command += ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short"]
        self._command += ["-o", f"faulthandler_timeout={test_s * 0.8:g}", *options]
        self._test_s = test_s
        self._root = root
        self._failures: dict[str, str] = {}
        self._job: _Job | None = None
        self.num_started = 0

    def failure_of(self, nodeid: str) -> str:
        """Waits for a test and returns why it failed, or nothing if it passed."""
        while nodeid not in self._failures:
            if self._job is None:
                self._job = self._start()
            self._listen(self._job, nodeid)
        return self._failures[nodeid]

    def stop(self) -> None:
        """Ends the job that runs, if any: nobody asks for its tests any more."""
        if self._job is not None:
            self._job.kill()
            self._job.close()
            self._job = None

    def _start(self) -> "_Job":
        self.num_started += 1
        return _Job(self._num_ranks, [*self._command, *self._left], self._folder, self._root)

    def _listen(self, job: "_Job", nodeid: str) -> None:
        """Takes what ranks say until the test has ended, or the job."""
        while nodeid not in self._failures:
            ended = job.has_ended()
            self._take(job.read())
            if not self._left:
                job.wait()
                self._job = None
                return
            if nodeid in self._failures and not ended:
                return
            if ended:
                self._finish(job, f"the job ended with exit code {job.process.returncode}")
                return
            limit_s = self._test_s if job.has_begun else START_S
            if time.monotonic() - job.heard_s > limit_s:
                job.kill()
                self._take(job.read())
                self._finish(job, f"no rank went on for {limit_s:g} s")
                return
            time.sleep(_POLL_S)

    def _take(self, said: dict[str, dict[int, tuple[str, str]]]) -> None:
        """Notes tests that have passed on all ranks."""
        for nodeid in list(self._left):
            by_rank = said.get(nodeid, {})
            if [kind for kind, _ in by_rank.values()] != ["passed"] * self._num_ranks:
                return
            self._failures[nodeid] = ""
            self._left.remove(nodeid)

    def _finish(self, job: "_Job", why: str) -> None:
        """Blames the first test that has not passed on all ranks for the end of a job."""
        self._job = None
        nodeid = self._left.pop(0)
        lines = [f"{nodeid} on {self._num_ranks} ranks: {why}"]
        for rank in range(self._num_ranks):
            kind, text = job.said.get(nodeid, {}).get(rank, ("not begun", ""))
            lines.append(f"rank {rank}: {kind}\n{text}" if text else f"rank {rank}: {kind}")
        if not any(kind == "failed" for kind, _ in job.said.get(nodeid, {}).values()):
            lines.append(job.tail())
        job.close()
        self._failures[nodeid] = "\n".join(lines)


class _Job:
    """One start of the launcher."""

    def __init__(self, num_ranks: int, command: Sequence[str], folder: Path, root: Path) -> None:
        self._results = Path(tempfile.mkdtemp(prefix="results-", dir=folder))
        self._num_ranks = num_ranks
        self._read_bytes = [0] * num_ranks
        self._output: IO[bytes] = (self._results / "output").open("w+b")
        self.said: dict[str, dict[int, tuple[str, str]]] = {}
        self.heard_s = time.monotonic()
        variables = {RESULTS_VARIABLE: str(self._results), PARTS_VARIABLE: str(folder)}
        self.process = start_ranks(num_ranks, command, variables, output=self._output, cwd=root)

    @property
    def has_begun(self) -> bool:
        return bool(self.said)

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def read(self) -> dict[str, dict[int, tuple[str, str]]]:
        """What every rank has said of every test so far."""
        for rank in range(self._num_ranks):
            path = self._results / f"rank{rank}.jsonl"
            if not path.exists():
                continue
            with path.open("rb") as file:
                file.seek(self._read_bytes[rank])
                lines = file.read()
            whole = lines[: lines.rfind(b"\n") + 1]
            self._read_bytes[rank] += len(whole)
            for line in whole.splitlines():
                kind, nodeid, text = json.loads(line)
                self.said.setdefault(nodeid, {})[rank] = (kind, text)
                self.heard_s = time.monotonic()
        return self.said

    def kill(self) -> None:
        """Ends the launcher and its ranks."""
        end_program(self.process)

    def wait(self) -> None:
        """Waits for the ranks, which write down what they measured, to end by themselves."""
        try:
            self.process.wait(timeout=START_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self.close()

    def close(self) -> None:
        """Closes the file of what the ranks print."""
        self._output.close()

    def tail(self) -> str:
        """The end of what the ranks printed."""
        self._output.seek(0, os.SEEK_END)
        self._output.seek(max(self._output.tell() - _TAIL_BYTES, 0))
        return self._output.read().decode(errors="replace")
