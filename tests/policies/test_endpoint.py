import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from made_up import FACTS, ToyCache, counters, make_observation

from gnnflow.errors import ConfigError
from gnnflow.policies import PolicyController, PolicyError, Steering
from gnnflow.policies.llm import endpoint
from gnnflow.policies.llm.endpoint import KEY_VARIABLE, Endpoint, EndpointPolicy
from gnnflow.policies.llm.prompt import Prompt

ANSWER = {
    "replace": True,
    "expected_hit_rate_change": 0.1,
    "expected_volume_change": -0.2,
    "explanation": "many stale rows",
}


def completion(content):
    return 200, json.dumps({"choices": [{"message": {"content": content}}]}).encode()


class Script:
    """A chat server on the loopback that answers as a list says, then repeats the last."""

    def __init__(self):
        self.replies = [completion(json.dumps(ANSWER))]
        self.requests = []
        self.headers = []
        self.location = None
        script = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                script.requests.append(json.loads(body))
                script.headers.append(dict(self.headers))
                replies = script.replies
                status, data = replies.pop(0) if len(replies) > 1 else replies[0]
                if status == "slow":
                    script.go_on.wait(10)
                    return
                self.send_response(status)
                if script.location is not None:
                    self.send_header("Location", script.location)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                pass

        self.go_on = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=[0.01])
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def close(self):
        self.go_on.set()
        self.server.shutdown()
        self.thread.join(10)
        self.server.server_close()


@pytest.fixture
def script():
    script = Script()
    yield script
    script.close()


def make_policy(script, timeout_s=10.0):
    asked = Endpoint(script.url, "some-model", timeout_s=timeout_s, sleep=lambda _: None)
    return EndpointPolicy(asked, Prompt.load(None, explain=True), [])


def test_an_answer_becomes_a_decision(script, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "a-secret")
    decision = make_policy(script).decide(make_observation())
    assert (decision.replace, decision.expected_volume_change) == (True, -0.2)
    (request,) = script.requests
    assert request["model"] == "some-model"
    assert [message["role"] for message in request["messages"]] == ["system", "user"]
    assert "Answer with JSON" in request["messages"][0]["content"]
    assert request["response_format"]["json_schema"]["schema"]["required"][0] == "replace"
    assert script.headers[0]["Authorization"] == "Bearer a-secret"


def test_no_key_no_header(script, monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    make_policy(script).decide(make_observation())
    assert "Authorization" not in script.headers[0]


def test_a_server_that_is_busy_is_asked_again(script):
    script.replies = [(500, b"oops"), (503, b""), completion(json.dumps(ANSWER))]
    assert make_policy(script).decide(make_observation()).replace
    assert len(script.requests) == 3


def test_a_server_without_schemas_is_asked_without(script):
    script.replies = [(400, b"unknown field response_format"), completion(json.dumps(ANSWER))]
    policy = make_policy(script)
    assert policy.decide(make_observation()).replace
    assert policy.decide(make_observation()).replace
    assert ["response_format" in request for request in script.requests] == [True, False, False]


@pytest.mark.parametrize(
    ("reply", "requests", "message"),
    [
        ((500, b"broken"), 3, "server 127.0.0.1: HTTP 500"),
        ((401, b"who are you"), 1, "server 127.0.0.1: HTTP 401"),
        ((200, b"<html>"), 1, "sent no chat completion"),
        ((200, b'{"choices": []}'), 1, "sent no chat completion"),
        (completion(None), 1, "sent no chat completion"),
        (completion("I would replace."), 1, "the answer is not JSON"),
        (completion('{"replace": true}'), 1, "the answer lacks"),
        (completion(json.dumps(ANSWER | {"replace": "yes"})), 1, "'replace' of the answer has a"),
    ],
)
def test_faults_are_counted_and_training_goes_on(
    script, monkeypatch, caplog, reply, requests, message
):
    monkeypatch.setenv(KEY_VARIABLE, "a-secret")
    script.replies = [reply]
    controller = PolicyController(lambda: make_policy(script), mode="sync", timeout_s=30)
    steering = Steering(controller, FACTS)
    for step in range(2):
        ids = ToyCache().policy_view(8).plan.incoming
        assert steering.after_minibatch(counters(step), ToyCache(), ids) is None
    steering.close()
    assert steering.statistics.summary()["failed_share"] == 1.0
    assert len(script.requests) == 2 * requests
    assert len(caplog.messages) == 1
    assert message in caplog.messages[0]
    assert "a-secret" not in caplog.text


def test_a_slow_server_is_given_up(script):
    script.replies = [("slow", b"")]
    start = time.monotonic()
    with pytest.raises(PolicyError, match="server 127.0.0.1: no answer in time"):
        make_policy(script, timeout_s=0.2).decide(make_observation())
    assert time.monotonic() - start < 8


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(script, monkeypatch, status):
    monkeypatch.setenv(KEY_VARIABLE, "a-secret")
    elsewhere = Script()
    try:
        script.location = elsewhere.url
        script.replies = [(status, b"")]
        with pytest.raises(PolicyError, match=f"server 127.0.0.1: HTTP {status}"):
            make_policy(script).decide(make_observation())
        assert script.requests and not elsewhere.requests
    finally:
        elsewhere.close()


class Trickle:
    """An answer that comes byte by byte and never ends."""

    def __init__(self):
        self.now = 0.0

    def read1(self, num_bytes):
        self.now += 1.0
        return b" "


def test_an_answer_that_trickles_is_given_up(monkeypatch):
    answer = Trickle()
    monkeypatch.setattr(endpoint.time, "monotonic", lambda: answer.now)
    with pytest.raises(TimeoutError):
        endpoint._read(answer, 5.0)
    assert answer.now == 6.0


def test_an_answer_is_read_to_a_limit(monkeypatch):
    answer = Trickle()
    monkeypatch.setattr(endpoint, "_MAX_ANSWER_BYTES", 100)
    assert endpoint._read(answer, 1e9) == b" " * 100


def test_a_server_that_is_not_there(script):
    script.close()
    with pytest.raises(PolicyError, match="server 127.0.0.1: .*refused"):
        make_policy(script).decide(make_observation())


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/v1", "http://", "file:///etc"])
def test_the_address_is_checked(url):
    with pytest.raises(ConfigError, match="llm_url must be an address"):
        Endpoint(url, "model", timeout_s=1)


def test_a_password_in_the_address_is_not_shown():
    asked = Endpoint("http://user:hidden@127.0.0.1:1/v1", "m", timeout_s=1, sleep=lambda _: None)
    with pytest.raises(PolicyError) as caught:
        asked.chat([])
    assert "hidden" not in str(caught.value)
