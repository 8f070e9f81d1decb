"""Starts a machine's model server and asks it."""

import atexit
import contextlib
import dataclasses
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from gnnflow.config import PolicyConfig
from gnnflow.files.json_record import read_record
from gnnflow.files.whole_file import replaced_file
from gnnflow.launch.job_end import cause, name_of
from gnnflow.policies.decision import PolicyError, RankInfo
from gnnflow.policies.llm.calibration import Calibration
from gnnflow.policies.llm.host_server.model_server import MAX_LINE_BYTES, ServerConfig
from gnnflow.policies.llm.host_server.socket_folder import (
    error_path,
    remove_folder,
    short_name,
    socket_path,
)
from gnnflow.policies.llm.judge import DecisionTask, Verdict

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
        self._log = log
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
                [sys.executable, "-m", "gnnflow.policies.llm.host_server.model_server"],
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

    @property
    def how(self) -> str:
        """How the server ended, in brackets and words; empty while it runs."""
        code = self.exit_code
        if code is None:
            return ""
        what = f"exit code {code}" if code >= 0 else f"killed by {name_of(-code)}{cause(-code)}"
        log = "" if self._log is None else f"; its messages are in {self._log}"
        return f" ({what}){log}"

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
        self._path = path
        try:
            self._connection = _connect(path, process)
        except BaseException:
            if process is not None:  # its folder stays for ranks that are still to read why
                process.close()
            raise
        self._received = b""

    def prepare(self, task: DecisionTask) -> Calibration:
        """Makes the server ready for a task's questions."""
        values = {"operation": "prepare", "task": dataclasses.asdict(task)}
        answer = self._request(values, max(self._timeout_s, _PREPARE_LIMIT_S))
        return read_record(Calibration, answer.get("calibration"))

    def ask(self, task: DecisionTask, question: str) -> Verdict:
        """Asks a question of a task that was prepared."""
        values = {"operation": "ask", "key": task.key, "question": question}
        return read_record(Verdict, self._request(values, self._timeout_s).get("verdict"))

    def close(self) -> None:
        """Leaves the server; ends it, and removes its folder, if this rank started it."""
        # Shut down first: a thread that waits for an answer then gets the end of the stream.
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
        if self._process is not None:
            self._process.close()
            remove_folder(self._path)

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
        return "" if self._process is None else self._process.how


def connect_to_host_server(config: PolicyConfig, rank_info: RankInfo) -> ServerClient:
    """Connects to the model server of this machine; its first rank starts it.

    Raises:
        PolicyError: if it cannot start, on every rank.
    """
    path = socket_path(rank_info.job)
    process = None
    if rank_info.host_rank == 0:
        for stale in (path, error_path(path)):
            stale.unlink(missing_ok=True)
        atexit.register(remove_folder, path)
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


def _connect(path: Path, process: ServerProcess | None) -> socket.socket:
    deadline = time.monotonic() + _START_LIMIT_S
    failure = error_path(path)
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with short_name(path) as name:
                connection.connect(name)
            return connection
        except OSError:
            connection.close()
        except BaseException:
            connection.close()
            raise
        if process is not None and process.exit_code is not None and not failure.exists():
            # It was killed before it could say anything; the other ranks wait for a word.
            with replaced_file(failure, shared=True) as scratch:
                scratch.write_text(
                    f"the language model server ended before it listened{process.how}"
                )
        if failure.exists():
            raise PolicyError(failure.read_text(encoding="utf-8"))
        if time.monotonic() > deadline:
            raise PolicyError(
                f"the language model server does not listen after {_START_LIMIT_S:g} s"
            )
        time.sleep(_POLL_S)
