"""A peer's side of a benchmark, in a process of the peer's environment that waits for questions."""

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.peers import peer_environment, peer_python

_PROGRAM = "benchmarks.peers.minibatch_sides"


class PeerProcess:
    """A program that first tells its version, then answers each line with a line of JSON."""

    def __init__(self, peer: str, side: str, folder: Path, threads: int) -> None:
        """Starts a side on a folder of inputs.

        Args:
            peer: An installed peer.
            side: One of `minibatch_sides.SIDES`.
            folder: What the side reads.
            threads: Threads that it may use.
        """
        python = peer_python(peer)
        assert python is not None, f"{peer} is not installed"
        self._process = subprocess.Popen(
            [python, "-W", "ignore", "-m", _PROGRAM, side, str(folder), str(threads)],
            env=peer_environment(),
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
            RuntimeError: If the process ended instead.
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
