"""The model server of a machine: one process that answers the questions of all its ranks.

Started by the first rank with a line of JSON on standard input, which it then holds open: when the
rank ends, however it ends, the server reads the end of its input and stops. Ranks talk to it over a
Unix socket, a line of JSON for each question and each answer.
"""

import contextlib
import json
import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from gnnflow.errors import GnnflowError, kind_and_line, one_line
from gnnflow.files.json_record import read_record
from gnnflow.files.whole_file import replaced_file
from gnnflow.policies.llm.host_server.socket_folder import error_path, remove_folder, short_name
from gnnflow.policies.llm.judge import DecisionTask, Judge, model_identity
from gnnflow.policies.llm.model.language_model import LanguageModel
from gnnflow.policies.llm.model.model_files import seal
from gnnflow.policies.llm.model.model_folder import fetch_model

MAX_LINE_BYTES = 1 << 22
_LEAVE_LIMIT_S = 2.0
_END_LIMIT_S = 10.0
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerConfig:
    """What a model server is told at its start."""

    socket: str
    """Path of the Unix socket."""

    model: str
    """Model by name, folder or GGUF file."""

    device: str = "cpu"
    """Where it runs: cpu, cuda or auto."""

    dtype: str = "float32"
    """Its precision."""

    threads: int = 1
    """Threads that it computes with."""

    niceness: int = 5
    """How far it steps back for training on busy cores, from 0 to 19."""


@dataclass(slots=True)
class _Client:
    connection: socket.socket
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reply(self, message: dict[str, Any]) -> None:
        """Sends a line; a client that has gone gets none."""
        with self.lock, contextlib.suppress(OSError):
            self.connection.sendall(json.dumps(message).encode() + b"\n")


@dataclass(frozen=True, slots=True)
class _DecisionRequest:
    client: _Client
    number: int
    operation: str
    task: DecisionTask | None
    key: str
    question: str


class ModelServer:
    """Takes questions from connections, answers those that wait together in one pass."""

    def __init__(self, judge: Judge, path: Path, niceness: int = 0) -> None:
        """Listens on a Unix socket that only this user can open.

        Args:
            judge: the model.
            path: the socket.
            niceness: how far it steps back for training once a task is prepared. Until then it
                hurries: loading and calibrating are done once, and nobody decides meanwhile.
        """
        self._judge = judge
        self._niceness = niceness
        self._path = path
        self._tasks: dict[str, DecisionTask] = {}
        self._requests: queue.SimpleQueue[_DecisionRequest | None] = queue.SimpleQueue()
        self._num_clients = 0
        self._all_left = threading.Condition()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            path.unlink(missing_ok=True)
            with short_name(path) as name:
                self._listener.bind(name)
        except BaseException:
            self._listener.close()
            raise
        path.chmod(0o600)
        self._listener.listen()
        threading.Thread(target=self._accept, name="accept", daemon=True).start()

    def serve(self) -> None:
        """Answers until `stop`."""
        while (request := self._requests.get()) is not None:
            waiting = [request]
            stopping = False
            with contextlib.suppress(queue.Empty):
                while not stopping:
                    more = self._requests.get_nowait()
                    if more is None:
                        stopping = True
                    else:
                        waiting.append(more)
            self._answer(waiting)
            if stopping:
                break
        self._listener.close()
        remove_folder(self._path)

    def stop(self) -> None:
        """Ends `serve` after the questions that wait; from any thread."""
        self._requests.put(None)

    def wait_until_left(self, limit_s: float) -> None:
        """Waits for clients to leave, at most so long."""
        with self._all_left:
            self._all_left.wait_for(lambda: self._num_clients == 0, limit_s)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # the listener was closed
                return
            with self._all_left:
                self._num_clients += 1
            threading.Thread(target=self._read, args=[connection], daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        client = _Client(connection)
        try:
            with connection, connection.makefile("rb") as lines:
                while line := lines.readline(MAX_LINE_BYTES):
                    try:
                        self._requests.put(_parse_request(client, line))
                    except (ValueError, KeyError, TypeError) as error:
                        client.reply({"id": None, "error": f"not a request: {error}"})
                        return
        except OSError:  # the client has gone
            pass
        finally:
            with self._all_left:
                self._num_clients -= 1
                self._all_left.notify_all()

    def _answer(self, requests: list[_DecisionRequest]) -> None:
        questions: dict[str, list[_DecisionRequest]] = {}
        for request in requests:
            if request.operation == "prepare" and request.task is not None:
                self._prepare(request, request.task)
            elif request.key in self._tasks:
                questions.setdefault(request.key, []).append(request)
            else:
                request.client.reply({"id": request.number, "error": "prepare the task first"})
        for key, group in questions.items():
            self._ask(self._tasks[key], group)

    def _prepare(self, request: _DecisionRequest, task: DecisionTask) -> None:
        try:
            calibration = self._judge.prepare(task)
            if self._niceness and not self._tasks:
                _yield_to_training(self._niceness)
            self._tasks[task.key] = task
            answer = {"id": request.number, "key": task.key, "calibration": asdict(calibration)}
        except Exception as error:
            answer = {"id": request.number, "error": kind_and_line(error)}
        request.client.reply(answer)

    def _ask(self, task: DecisionTask, group: list[_DecisionRequest]) -> None:
        try:
            verdicts = self._judge.ask_many(task, [request.question for request in group])
        except Exception as error:
            for request in group:
                request.client.reply({"id": request.number, "error": kind_and_line(error)})
            return
        for request, verdict in zip(group, verdicts, strict=True):
            request.client.reply({"id": request.number, "verdict": asdict(verdict)})


def _parse_request(client: _Client, line: bytes) -> _DecisionRequest:
    values = json.loads(line)
    task = read_record(DecisionTask, values["task"]) if values["operation"] == "prepare" else None
    return _DecisionRequest(
        client=client,
        number=int(values["id"]),
        operation=str(values["operation"]),
        task=task,
        key=str(values.get("key", "")),
        question=str(values.get("question", "")),
    )


def _stop_with_parent(server: ModelServer) -> None:
    """Waits for the end of standard input, which comes with the end of the rank that started us."""
    sys.stdin.read()
    server.wait_until_left(_LEAVE_LIMIT_S)
    server.stop()
    # A model that is busy with one question for ever must not outlive the job.
    time.sleep(_END_LIMIT_S)
    os._exit(1)


def _yield_to_training(niceness: int) -> None:
    """Steps back on busy cores: among threads, and among sessions where Linux shares so.

    Source: sched(7), "The autogroup feature" and "The nice value and group scheduling".
    """
    tasks = Path("/proc/self/task")
    # On Linux each thread has a niceness of its own, those of the math libraries too.
    threads = [int(each.name) for each in tasks.iterdir()] if tasks.is_dir() else [0]
    for thread in threads:
        with contextlib.suppress(OSError):  # it has ended
            os.setpriority(os.PRIO_PROCESS, thread, niceness)
    with contextlib.suppress(OSError):  # no such kernel, or /proc is not to be written to
        Path("/proc/self/autogroup").write_text(str(niceness), encoding="ascii")


def main() -> None:
    """Runs a server with the configuration on the first line of standard input."""
    # Ctrl-C reaches every process of the job; the ranks end first and take this one along.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    config = read_record(ServerConfig, json.loads(sys.stdin.readline()))
    try:
        server = _start(config)
    except Exception as error:
        reason = one_line(error) if isinstance(error, GnnflowError) else kind_and_line(error)
        # Ranks that wait for the socket read it.
        with replaced_file(error_path(Path(config.socket)), shared=True) as scratch:
            scratch.write_text(reason, encoding="utf-8")
        raise SystemExit(1) from error
    threading.Thread(target=_stop_with_parent, args=[server], daemon=True).start()
    server.serve()
    # Nothing is left to tidy up, and taking down the libraries takes seconds on busy cores.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _start(config: ServerConfig) -> ModelServer:
    where = str(fetch_model(config.model))
    seal()
    torch.set_num_threads(config.threads)
    model = LanguageModel.load(where, device=config.device, dtype=config.dtype)
    _LOGGER.info("language model %s on %s", where, model.device)
    judge = Judge(model, model_identity(where, config.dtype))
    return ModelServer(judge, Path(config.socket), config.niceness)


if __name__ == "__main__":
    main()
