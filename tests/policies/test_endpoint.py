import base64
import json
import socket
import threading
import time
from pathlib import Path

import pytest
from chat_server import ANSWER, Script, Trickler, completion, server_error
from made_up import FACTS, ToyCache, counters, make_observation

from gnnflow.config import PolicyConfig, TrainConfig, recorded_options
from gnnflow.config.option_values import shown_address
from gnnflow.errors import ConfigError
from gnnflow.policies import PolicyController, PolicyError, Steering
from gnnflow.policies.llm.chat import http_request
from gnnflow.policies.llm.chat.endpoint import KEY_VARIABLE, Endpoint, EndpointPolicy
from gnnflow.policies.llm.prompt import Prompt


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
    formats = [request.get("response_format", {}).get("type") for request in script.requests]
    assert formats == ["json_schema", "json_object", "json_object"]


@pytest.mark.parametrize(
    ("reply", "requests", "message"),
    [
        ((500, b"broken"), 3, "server 127.0.0.1: HTTP 500: broken"),
        ((401, b"who are you, a-secret"), 1, "server 127.0.0.1: HTTP 401: who are you, ***"),
        ((200, b"<html>"), 1, "sent no chat completion"),
        ((200, b'{"choices": []}'), 1, "sent no chat completion"),
        (completion(None), 1, "sent an empty answer"),
        (completion("", refusal="I must not"), 1, "sent an empty answer: I must not"),
        (completion("I would replace."), 1, "the answer is not JSON"),
        (completion('{"expected_volume_change": 0.1}'), 1, "the answer lacks"),
        (completion(json.dumps(ANSWER | {"replace": "maybe"})), 1, "has no 'replace' that is true"),
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


TRICKLES = {
    "status line": (b"HTTP/1.1 200 ", b"O", b"\r\n\r\n"),
    "header": (b"HTTP/1.1 200 OK\r\nX: ", b"x", b"\r\n\r\n"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
    "size of a chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0", b"\r\n\r\n",
    ),
    "trailer": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: x\r\n", b"\r\n",
    ),
    "body": (b"HTTP/1.1 200 OK\r\n\r\n", b" ", b""),
    "handshake": (b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc", b"\x03", b""),
}  # fmt: skip


@pytest.mark.parametrize("part", TRICKLES)
def test_an_answer_that_trickles_is_given_up(part):
    server = Trickler(*TRICKLES[part])
    scheme = "https" if part == "handshake" else "http"
    try:
        asked = Endpoint(f"{scheme}://127.0.0.1:{server.port}/v1", "m", timeout_s=0.3)
        with pytest.raises(PolicyError, match="server 127.0.0.1: no answer in time"):
            asked.chat([])
        assert server.is_left.wait(20)  # no thread goes on reading
    finally:
        server.close()


def test_a_name_that_is_looked_up_for_ever_is_given_up(monkeypatch):
    go_on = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: go_on.wait(20) and [])
    with pytest.raises(PolicyError, match="server somewhere: no answer in time"):
        Endpoint("http://somewhere:1/v1", "m", timeout_s=0.2).chat([])
    go_on.set()


def test_an_answer_is_read_to_a_limit(script, monkeypatch):
    monkeypatch.setattr(http_request, "MAX_ANSWER_BYTES", 100)
    script.replies = [(200, b" " * 100_000)]
    reply = http_request.exchange(script.url, {}, b"{}", deadline=time.monotonic() + 10)
    assert reply.body == b" " * 100


def test_a_server_that_is_not_there(script):
    script.close()
    with pytest.raises(PolicyError, match="server 127.0.0.1: .*refused"):
        make_policy(script).decide(make_observation())


@pytest.mark.parametrize(
    "url",
    ["localhost:8000", "ftp://host/v1", "http://", "file:///etc", "http://h:0/", "http://[::1",
     "http://h:70000/v1", "http://h/v1\nX: y", "http://h /v1"],
)  # fmt: skip
def test_the_address_is_checked(url):
    with pytest.raises(ConfigError, match="llm_url must be an address"):
        Endpoint(url, "model", timeout_s=1)
    with pytest.raises(ConfigError, match="llm_url must be an address"):
        PolicyConfig(policy="llm", llm_url=url)


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("", "/v1/chat/completions"),
        ("/", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/openai/x?api-version=2", "/openai/x/chat/completions?api-version=2"),
    ],
)
def test_addresses_as_people_write_them(script, given, asked):
    Endpoint(script.url.removesuffix("/v1") + given, "m", timeout_s=10).chat([])
    assert script.paths == [asked]


def test_a_password_in_the_address_is_used_and_not_shown(script, monkeypatch, caplog):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    url = script.url.replace("//", "//user:hid%40den@") + "?key=unspoken"
    script.replies = [(400, b"hid@den and unspoken"), (400, b"hid%40den"), (403, b"no hid@den")]
    asked = Endpoint(url, "m", timeout_s=10, sleep=lambda _: None)
    with pytest.raises(PolicyError) as caught:
        asked.chat([])
    login = base64.b64encode(b"user:hid@den").decode()
    assert script.headers[0]["Authorization"] == f"Basic {login}"
    assert script.paths[0] == "/v1/chat/completions?key=unspoken"
    told = str(caught.value) + caplog.text + repr(PolicyConfig(policy="llm", llm_url=url))
    assert len(caplog.messages) == 2 and "***" in told
    assert not any(secret in told for secret in ("hid@den", "hid%40den", "unspoken", login))


def test_records_of_a_run_hold_no_password():
    url = "https://user:hidden@host:8000/v1?key=unspoken#x"
    config = TrainConfig(
        parts=Path("parts"), policy=PolicyConfig(llm_url=url, llm_template=Path("a.jinja"))
    )
    options = recorded_options(config)
    assert options["policy"]["llm_url"] == "https://host:8000/v1?hidden"
    assert options["policy"]["llm_template"] == "a.jinja"
    assert options["sampling"]["fanout"] == list(config.sampling.fanout)
    assert shown_address("http://[::1") == "hidden"


def test_a_key_that_no_header_can_hold(script, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "a-\u20ac-secret")
    with pytest.raises(PolicyError, match="cannot be asked: GNNFLOW_LLM_KEY") as caught:
        make_policy(script).decide(make_observation())
    assert "secret" not in str(caught.value)


def test_a_server_that_asks_for_patience(script):
    waits = []
    script.sent_headers = {"Retry-After": "3"}
    script.replies = [(429, b""), (503, b""), completion(json.dumps(ANSWER))]
    asked = Endpoint(script.url, "m", timeout_s=100.0, sleep=waits.append)
    assert asked.chat([]) == json.dumps(ANSWER)
    assert waits == [3.0, 3.0]
    script.sent_headers = {"Retry-After": "Sun, 06 Nov 2044 08:49:37 GMT"}
    script.replies = [server_error(429, "too many requests")]
    with pytest.raises(PolicyError, match="HTTP 429: too many requests"):
        asked.chat([])
    with pytest.raises(PolicyError, match="still is to be left alone"):
        asked.chat([])
    assert len(script.requests) == 4
