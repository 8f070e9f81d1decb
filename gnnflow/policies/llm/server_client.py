"""Starts a machine's model server and asks it."""

import contextlib
import dataclasses
import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from gnnflow.config import PolicyConfig
from gnnflow.policies.decision import PolicyError, RankInfo
from gnnflow.policies.llm.calibration import Calibration
from gnnflow.policies.llm.judge import Task, Verdict
from gnnflow.policies.llm.server import MAX_LINE_BYTES, ServerConfig
from gnnflow.policies.observation import from_json

_START_LIMIT_S = 300.0
_PREPARE_LIMIT_S = 300.0
_STOP_LIMIT_S = 15.0
_POLL_S = 0.05
_CHUNK_BYTES = 1 << 16
# A process of its own must not take itself for a rank of the job.
_MPI_PREFIXES = ("PMI_", "PMIX_", "OMPI_", "MPI_", "HYDI_", "HYDRA_")


class ServerProcess:
    """A model server that this process started."""

    def __init__(self, config: ServerConfig, log: Path | None = None) -> None:
        """Starts the server; `connect` waits until it listens.

        Args:
            config: what the server is told.
            log: file for its messages; none by default.
        """
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(_MPI_PREFIXES)
        }
        environment["OMP_NUM_THREADS"] = str(config.threads)
        environment["USE_HUB_KERNELS"] = "0"  # transformers would fetch and run them
        with contextlib.ExitStack() as stack:
            sink: Any = subprocess.DEVNULL
            if log is not None:
                log.parent.mkdir(parents=True, exist_ok=True)
                sink = stack.enter_context(log.open("ab"))
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gnnflow.policies.llm.server"],
                stdin=subprocess.PIPE,
                stdout=sink,
                stderr=sink,
                env=environment,
                # Linux shares cores between sessions first: in the session of a rank the server
                # would take the cores that the others need whenever this one waits.
                start_new_session=True,
            )
        line = json.dumps(dataclasses.asdict(config)).encode() + b"\n"
        stdin = self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # it ended at once: `exit_code` tells
            if stdin is not None:
                stdin.write(line)
                stdin.flush()

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How the server ended; None while it runs."""
        return self._process.poll()

    def close(self) -> None:
        """Ends the server."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class ServerClient:
    """One rank's connection to a model server; for one thread."""

    def __init__(
        self, path: Path, *, timeout_s: float, process: ServerProcess | None = None
    ) -> None:
        """Waits until the server listens, and connects.

        Args:
            path: the server's socket.
            timeout_s: seconds for an answer.
            process: the server, if this rank started it: `close` ends it.

        Raises:
            PolicyError: if the server could not start, or does not listen in time.
        """
        self._timeout_s = timeout_s
        self._process = process
        self._number = 0
        try:
            self._connection = _connect(path, process)
        except BaseException:
            self._close_process()
            raise
        self._received = b""

    def prepare(self, task: Task) -> Calibration:
        """Makes the server ready for a task's questions."""
        values = {"operation": "prepare", "task": dataclasses.asdict(task)}
        answer = self._request(values, max(self._timeout_s, _PREPARE_LIMIT_S))
        return from_json(Calibration, answer.get("calibration"))

    def ask(self, task: Task, question: str) -> Verdict:
        """Asks a question of a task that was prepared."""
        values = {"operation": "ask", "key": task.key, "question": question}
        return from_json(Verdict, self._request(values, self._timeout_s).get("verdict"))

    def close(self) -> None:
        """Leaves the server, and ends it if this rank started it."""
        # Shut down first: a thread that waits for an answer then gets the end of the stream.
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
        self._close_process()

    def _request(self, values: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        self._number += 1
        try:
            self._connection.settimeout(timeout_s)
            self._connection.sendall(json.dumps(values | {"id": self._number}).encode() + b"\n")
            while True:
                answer = json.loads(self._read_line())
                if not isinstance(answer, dict):
                    raise PolicyError("the language model server sent no answer")
                if answer.get("id") in (self._number, None):
                    break  # others are late answers to questions that were given up
        except TimeoutError:
            raise PolicyError(
                f"no answer from the language model server within {timeout_s:g} s"
            ) from None
        except (OSError, ValueError) as error:
            raise PolicyError(
                f"the language model server cannot be reached: {error}{self._how()}"
            ) from None
        if "error" in answer:
            raise PolicyError(f"the language model server: {answer['error']}")
        return answer

    def _read_line(self) -> bytes:
        # Not a file object: those cannot be read any more once a read has timed out.
        while b"\n" not in self._received and len(self._received) <= MAX_LINE_BYTES:
            data = self._connection.recv(_CHUNK_BYTES)
            if not data:
                raise PolicyError(f"the language model server has ended{self._how()}")
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return line

    def _how(self) -> str:
        code = None if self._process is None else self._process.exit_code
        return "" if code is None else f" (exit code {code})"

    def _close_process(self) -> None:
        if self._process is not None:
            self._process.close()


def connect_to_host_server(config: PolicyConfig, rank_info: RankInfo) -> ServerClient:
    """Connects to the model server of this machine; its first rank starts it.

    Raises:
        PolicyError: if it cannot start, on every rank.
    """
    path = socket_path(rank_info.job)
    process = None
    if rank_info.host_rank == 0:
        for stale in (path, Path(f"{path}.error")):
            stale.unlink(missing_ok=True)
        server_config = ServerConfig(
            socket=str(path),
            model=config.llm_model,
            device=config.llm_device,
            dtype=config.llm_dtype,
            threads=config.llm_threads,
        )
        log = None
        if rank_info.run_dir is not None:
            log = rank_info.run_dir / f"llm-server-rank{rank_info.rank}.log"
        process = ServerProcess(server_config, log)
    return ServerClient(path, timeout_s=config.policy_timeout, process=process)


def socket_path(job: str) -> Path:
    """The socket of a job on this machine: short, since sockets' names are, and for this user."""
    folder = Path(tempfile.gettempdir()) / f"gnnflow-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PolicyError(f"{folder} belongs to another user; set TMPDIR to a folder of yours")
    return folder / f"llm-{hashlib.sha256(job.encode()).hexdigest()[:16]}.sock"


def _connect(path: Path, process: ServerProcess | None) -> socket.socket:
    deadline = time.monotonic() + _START_LIMIT_S
    failure = Path(f"{path}.error")
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(path))
            return connection
        except OSError as error:
            connection.close()
            ended = process is not None and process.exit_code is not None
            if failure.exists() or ended:
                reason = failure.read_text(encoding="utf-8") if failure.exists() else str(error)
                raise PolicyError(reason or "the language model server cannot start") from None
            if time.monotonic() > deadline:
                raise PolicyError(
                    f"the language model server does not listen after {_START_LIMIT_S:g} s"
                ) from None
            time.sleep(_POLL_S)
