"""A peer's side of a benchmark, in a process of the peer's environment that waits for questions."""

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class PeerProcess:
    """A script that first tells its version, then answers each line with a line of JSON."""

    def __init__(self, python: Path, script: Path, folder: Path, threads: int) -> None:
        """Starts the script on a folder of inputs.

        Args:
            python: interpreter of the peer's environment.
            script: takes the folder and the number of threads; imports nothing of gnnflow.
            folder: what the script reads.
            threads: threads that the peer may use.
        """
        self._process = subprocess.Popen(
            [str(python), "-W", "ignore", str(script), str(folder), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.version = str(self._answer()["version"])

    def __enter__(self) -> Self:
        """Ends the process at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the process."""
        self._process.communicate()

    def ask(self, question: Any) -> dict[str, Any]:
        """Sends a question as a line of JSON and returns the answer.

        Raises:
            RuntimeError: if the process ended instead.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the peer ended with code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer
