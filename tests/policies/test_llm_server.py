import io
import json
import os
import signal
import socket
import stat
import tempfile
import threading
import time

import pytest

pytest.importorskip("transformers")

from made_up import FACTS, ToyCache, counters, make_observation  # noqa: E402
from tiny_model import save_tiny  # noqa: E402

from gnnflow.config import PolicyConfig  # noqa: E402
from gnnflow.policies import PolicyController, PolicyError, RankInfo, Steering  # noqa: E402
from gnnflow.policies.llm.calibration import UNCALIBRATED  # noqa: E402
from gnnflow.policies.llm.host_server import model_server as server_module  # noqa: E402
from gnnflow.policies.llm.host_server import server_client  # noqa: E402
from gnnflow.policies.llm.host_server.model_server import ModelServer  # noqa: E402
from gnnflow.policies.llm.host_server.server_client import (  # noqa: E402
    ServerClient,
    connect_to_host_server,
    socket_path,
)
from gnnflow.policies.llm.host_server.socket_folder import remove_folder  # noqa: E402
from gnnflow.policies.llm.judge import DecisionTask, Verdict  # noqa: E402
from gnnflow.policies.llm.llm_policy import LlmPolicy, PromptParts  # noqa: E402
from gnnflow.policies.llm.prompt import Prompt  # noqa: E402

TASK = DecisionTask(messages=[{"role": "system", "content": "Answer yes or no."}], explain=False)
PARTS = PromptParts(prompt=Prompt.load(None, explain=False), examples=[], reference=[])


def short_path():
    """A new socket path: pytest's folders are too deep for sockets."""
    return socket_path(f"test-{os.getpid()}-{time.monotonic_ns()}")


class FakeJudge:
    """Answers with the length of the question; can wait and fail."""

    def __init__(self):
        self.batches = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.is_asked = threading.Event()
        self.error = None

    def prepare(self, task):
        return UNCALIBRATED

    def ask_many(self, task, questions):
        self.is_asked.set()
        self.go_on.wait(10)
        if self.error:
            raise self.error
        self.batches.append(len(questions))
        return [Verdict(log_odds=float(len(question)), probability=1.0) for question in questions]


@pytest.fixture
def serving(tmp_path_factory):
    judge = FakeJudge()
    path = short_path()
    server = ModelServer(judge, path)
    judge.num_waiting = server._requests.qsize
    judge.server = server
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield judge, path
    judge.go_on.set()
    server.stop()
    thread.join(10)
    assert not path.exists()


def test_a_question_gets_its_answer(serving):
    judge, path = serving
    client = ServerClient(path, timeout_s=10)
    assert client.prepare(TASK) == UNCALIBRATED
    assert client.ask(TASK, "four").log_odds == 4.0
    client.close()


def test_questions_that_wait_are_answered_in_one_pass(serving):
    judge, path = serving
    clients = [ServerClient(path, timeout_s=10) for _ in range(4)]
    for client in clients:
        client.prepare(TASK)
    judge.go_on.clear()
    answers = {}

    def ask(number):
        answers[number] = clients[number].ask(TASK, "x" * (number + 1)).log_odds

    threads = [threading.Thread(target=ask, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
        assert judge.is_asked.wait(10)
    while judge.num_waiting() < 3:  # the first is being answered, the others wait
        assert all(thread.is_alive() for thread in threads)  # clients give up after 10 s
        time.sleep(0.001)
    judge.go_on.set()
    for thread in threads:
        thread.join(10)
    assert answers == {number: number + 1.0 for number in range(4)}
    assert judge.batches == [1, 3]
    for client in clients:
        client.close()


def test_faults_of_the_model_reach_those_who_asked(serving):
    judge, path = serving
    client = ServerClient(path, timeout_s=10)
    with pytest.raises(PolicyError, match="prepare the task first"):
        client.ask(TASK, "why")
    client.prepare(TASK)
    judge.error = RuntimeError("out of\nmemory")
    with pytest.raises(PolicyError, match="server: RuntimeError: out of memory"):
        client.ask(TASK, "why")
    judge.error = None
    assert client.ask(TASK, "why").log_odds == 3.0
    client.close()


def test_a_late_answer_does_not_answer_the_next_question(serving):
    judge, path = serving
    client = ServerClient(path, timeout_s=0.1)
    client.prepare(TASK)
    judge.go_on.clear()
    with pytest.raises(PolicyError, match=r"no answer .* within 0.1 s"):
        client.ask(TASK, "first question")
    judge.go_on.set()
    client._timeout_s = 10
    assert client.ask(TASK, "next").log_odds == 4.0
    client.close()


@pytest.mark.parametrize("line", [b"nonsense\n", b"[]\n", b'{"operation": "prepare"}\n'])
def test_nonsense_is_answered_and_the_line_closed(serving, line):
    _, path = serving
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(line)
        with connection.makefile("rb") as lines:
            assert "not a request" in json.loads(lines.readline())["error"]
            assert lines.readline() == b""


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (b"nonsense\n", "cannot be reached"),
        (b"[1]\n", "sent no answer"),
        (b'{"id": 1}\n', "Verdict must be a JSON object"),
        (b'{"id": 1, "verdict": {"log_odds": "high"}}\n', "Verdict.log_odds must be"),
        (b"", "has ended"),
    ],
)
def test_a_server_that_answers_nonsense(tmp_path, reply, message):
    path = short_path()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def answer():
        connection, _ = listener.accept()
        connection.recv(100_000)
        connection.sendall(reply)
        connection.close()

    thread = threading.Thread(target=answer)
    thread.start()
    client = ServerClient(path, timeout_s=10)
    with pytest.raises(ValueError if "must" in message else PolicyError, match=message):
        client.ask(TASK, "why")
    client.close()
    thread.join(10)
    listener.close()
    remove_folder(path)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny")


def llm_config(model, **options):
    return PolicyConfig(policy="llm", llm_model=str(model), policy_timeout=30.0, **options)


def test_ranks_share_the_server_that_the_first_one_starts(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("GNNFLOW_CACHE", str(tmp_path))
    clients = {}

    def connect(rank):
        info = RankInfo(rank=rank, num_ranks=2, host_rank=rank, ranks_on_host=2, job=str(tmp_path))
        clients[rank] = connect_to_host_server(llm_config(tiny), info)

    threads = [threading.Thread(target=connect, args=[rank]) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    policies = {rank: LlmPolicy(client, PARTS, client.close) for rank, client in clients.items()}
    first = policies[0].decide(make_observation())
    second = policies[1].decide(make_observation())
    assert first.probability == pytest.approx(second.probability, abs=1e-4)
    policies[1].close()
    policies[0].close()
    assert clients[0]._process.exit_code == 0
    assert not clients[0]._path.parent.exists()


def test_training_goes_on_when_the_server_is_killed(tiny, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("GNNFLOW_CACHE", str(tmp_path))
    info = RankInfo(job=str(tmp_path), run_dir=tmp_path / "run")
    client = connect_to_host_server(llm_config(tiny), info)
    policy = LlmPolicy(client, PARTS, client.close)
    controller = PolicyController(lambda: policy, mode="sync", timeout_s=30)
    steering = Steering(controller, FACTS)
    for step in range(6):
        if step == 3:
            os.kill(client._process.pid, signal.SIGKILL)
        steering.after_minibatch(
            counters(step), ToyCache(), ToyCache().policy_view(8).plan.incoming
        )
    steering.close()
    summary = steering.statistics.summary()
    assert (summary["decisions"], summary["failed_share"]) == (6, 0.5)
    assert 1 <= len(caplog.messages) <= 2  # the end of the stream, then the closed connection
    assert "the language model server" in caplog.messages[0]
    assert not [thread for thread in threading.enumerate() if thread.name == "gnnflow-policy"]


def test_a_server_that_cannot_start_says_why_on_every_rank(tmp_path, monkeypatch):
    monkeypatch.setattr(server_client, "_START_LIMIT_S", 60.0)
    config = llm_config(tmp_path / "missing.gguf")
    job = str(tmp_path)
    with pytest.raises(PolicyError, match="there is no model file .*missing.gguf"):
        connect_to_host_server(config, RankInfo(job=job))
    with pytest.raises(PolicyError, match="there is no model file"):
        connect_to_host_server(config, RankInfo(rank=1, host_rank=1, job=job))
    remove_folder(socket_path(job))


def test_a_server_that_is_killed_while_it_starts_is_told_on_every_rank(tiny, tmp_path, monkeypatch):
    start = server_client.ServerProcess

    def start_and_kill(config, log):
        process = start(config, log)
        os.kill(process.pid, signal.SIGKILL)
        return process

    monkeypatch.setattr(server_client, "ServerProcess", start_and_kill)
    job = str(tmp_path)
    reason = r"ended before it listened \(killed by signal 9 \(SIGKILL\) \(often: out of memory\)\)"
    for rank in range(2):
        info = RankInfo(rank=rank, host_rank=rank, job=job, run_dir=tmp_path / "run")
        with pytest.raises(PolicyError, match=f"{reason}; its messages are in .*rank0.log"):
            connect_to_host_server(llm_config(tiny), info)
    remove_folder(socket_path(job))


def test_a_folder_that_others_may_use_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = socket_path("job").parent
    assert folder.parent == tmp_path and stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o755)
    with pytest.raises(PolicyError, match=r"is open to others \(mode 755\); remove it, or set"):
        socket_path("job")
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PolicyError, match="is no folder but a link"):
        socket_path("job")
    with pytest.raises(OSError):
        ModelServer(FakeJudge(), folder / "llm.sock")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(PolicyError, match="no place for its socket .*set TMPDIR"):
        socket_path("job")


def test_a_long_name_of_the_temporary_folder_is_no_hindrance(tmp_path, monkeypatch):
    deep = tmp_path / ("a" * 120)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    path = socket_path("job")
    server = ModelServer(FakeJudge(), path)
    thread = threading.Thread(target=server.serve)
    thread.start()
    client = ServerClient(path, timeout_s=10)
    client.prepare(TASK)
    client.close()
    server.stop()
    thread.join(10)
    assert list(deep.iterdir()) == []


def test_a_server_that_is_busy_for_ever_does_not_outlive_the_job(serving, monkeypatch):
    judge, path = serving
    ended = []
    monkeypatch.setattr(server_module.sys, "stdin", io.StringIO(""))
    monkeypatch.setattr(server_module.time, "sleep", lambda seconds: ended.append(seconds))
    monkeypatch.setattr(server_module.os, "_exit", ended.append)
    server_module._stop_with_parent(judge.server)
    assert ended == [server_module._END_LIMIT_S, 1]
