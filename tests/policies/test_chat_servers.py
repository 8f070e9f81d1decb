import json

import chat_server
import pytest
from chat_server import ANSWER, Script, completion, server_error

from gnnflow.policies import PolicyError
from gnnflow.policies.llm.answers import parse_answer
from gnnflow.policies.llm.chat.chat_forms import read_completion, read_models, read_problem
from gnnflow.policies.llm.chat.endpoint import Endpoint

MESSAGES = [{"role": "system", "content": "Steer."}, {"role": "user", "content": "Replace?"}]


@pytest.fixture
def script():
    script = Script()
    yield script
    script.close()


def ask(script, model="m", **options):
    return Endpoint(script.url, model, timeout_s=20, sleep=lambda _: None, **options)


@pytest.mark.parametrize(
    ("server", "refusals", "requests"),
    [
        ("vllm", ["a message of the system", "more than 512 tokens", "more than 256 tokens"], 4),
        ("old_vllm", ["response_format json_schema"], 2),
        ("ollama", [], 2),
        ("llama_cpp", ["response_format json_schema", "response_format json_object"], 3),
        ("tgi", ["response_format json_schema", "response_format json_object"], 3),
        ("openai", ["max_tokens", "temperature"], 4),
    ],
)
def test_servers_are_asked_as_they_can_be(script, caplog, server, refusals, requests):
    script.answer = getattr(chat_server, server)
    asked = ask(script)
    assert parse_answer(asked.chat(MESSAGES)).replace
    assert len(script.requests) == requests
    assert len(caplog.messages) == len(refusals)
    for message, refusal in zip(caplog.messages, refusals, strict=True):
        assert f"the language model server 127.0.0.1 refuses {refusal}" in message or (
            refusal in message
        )
        assert "(HTTP " in message
    # What was learnt holds: one request, and not a word.
    caplog.clear()
    assert parse_answer(asked.chat(MESSAGES)).replace
    assert len(script.requests) == requests + 1
    assert not caplog.messages


def test_the_reason_of_a_server_is_told(script, caplog):
    script.answer = chat_server.tgi
    ask(script).chat(MESSAGES)
    assert "(HTTP 422: Failed to deserialize the JSON body: response_format" in caplog.messages[0]


def test_the_system_speaks_through_the_user_where_it_must(script):
    script.answer = chat_server.vllm
    ask(script).chat(MESSAGES)
    assert script.requests[-1]["messages"] == [{"role": "user", "content": "Steer.\n\nReplace?"}]


def test_a_server_that_refuses_everything_gives_its_reason(script):
    script.replies = [server_error(400, "no")]
    with pytest.raises(PolicyError, match="server 127.0.0.1: HTTP 400: no$"):
        ask(script).chat(MESSAGES)
    assert set(script.requests[-1]) == {"model", "messages", "temperature"}


def test_a_model_that_never_ends_its_thoughts(script):
    script.replies = [completion("<think> hm", "length")]
    with pytest.raises(PolicyError, match="cut the answer at 32768 tokens"):
        ask(script, answer_tokens=5000).chat(MESSAGES)
    assert [request["max_tokens"] for request in script.requests] == [5000, 20000, 32768]


def test_what_is_complete_may_be_cut(script):
    script.replies = [completion(json.dumps(ANSWER) + " And", "length")]
    assert parse_answer(ask(script).chat(MESSAGES)).replace
    assert len(script.requests) == 1


def listed(*names):
    return 200, json.dumps({"object": "list", "data": [{"id": name} for name in names]}).encode()


@pytest.mark.parametrize("names", [("qwen3:8b",), ("a", "smollm2-135m-tuned", "b")])
def test_the_only_model_of_a_server_is_taken(script, names):
    script.models = listed(*names)
    asked = ask(script, model=None)
    for _ in range(2):
        asked.chat(MESSAGES)
    taken = names[len(names) // 2]
    assert [request["model"] for request in script.requests] == [taken, taken]
    assert script.paths == ["/v1/models", *["/v1/chat/completions"] * 2]


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (listed("a", "b\nc"), "has 2 models: a, b c; name one with --llm-model"),
        (listed(*"abcdefghij"), "has 10 models: a, b, c, d, e, f, g, h, ...; name one"),
        (listed(), "does not list its models; name one with --llm-model"),
        ((404, b"not here"), r"does not list its models \(HTTP 404\); name one"),
        ((200, b"<html>"), "does not list its models; name one"),
    ],
)
def test_a_model_has_to_be_named_otherwise(script, models, message):
    script.models = models
    with pytest.raises(PolicyError, match=f"server 127.0.0.1: {message}"):
        ask(script, model=None).chat(MESSAGES)
    assert not script.requests


@pytest.mark.parametrize(
    ("status", "reply", "problem"),
    [
        (200, {"choices": [], "error": None}, None),
        (200, {"error": "model is loading"}, (400, "model is loading")),
        (200, {"error": {"code": 503, "message": "loading"}}, (503, "loading")),
        (404, {"error": {"message": "model 'x' not found"}}, (404, "model 'x' not found")),
        (422, {"detail": [{"msg": "a"}, {"msg": "b\x1b[31m"}]}, (422, "a; b [31m")),
        (400, {"object": "error", "message": "too\nlong"}, (400, "too long")),
        (424, {"error": "Input validation", "error_type": "validation"}, (424, "Input validation")),
        (500, {"other": 1}, (500, "")),
        (500, [1], (500, "[1]")),
        (500, {"error": "x" * 300}, (500, "x" * 200 + "...")),
    ],
)
def test_errors_are_read_wherever_they_stand(status, reply, problem):
    assert read_problem(status, json.dumps(reply).encode()) == problem


def test_pages_are_no_reasons():
    assert read_problem(502, b"<html>Bad gateway") == (502, "")
    assert read_problem(502, b"\xff\xfe") == (502, "\ufffd\ufffd")


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "yes"}, "yes"),
        ({"content": ["a", {"type": "text", "text": "b"}, {"type": "thinking", "thinking": []}, 3]},
         "ab"),
        ({"content": None, "reasoning_content": '{"replace": true}'}, '{"replace": true}'),
        ({"content": "", "reasoning": '{"replace": true}'}, '{"replace": true}'),
        ({"content": "", "reasoning": "hm"}, ""),
        ({"content": {"a": 1}}, ""),
    ],
)  # fmt: skip
def test_answers_are_read_wherever_they_stand(message, text):
    body = json.dumps({"choices": [{"message": message}]}).encode()
    assert read_completion(body).text == text


@pytest.mark.parametrize(
    "reply", [[], {}, {"choices": 3}, {"choices": [3]}, {"choices": [{"message": "yes"}]}]
)
def test_other_replies_are_no_answers(reply):
    assert read_completion(json.dumps(reply).encode()) is None


def test_lists_of_models_of_several_kinds():
    assert read_models(b'{"models": [{"name": "a"}, {"model": "b"}, {"name": "a"}, 3, {}]}') == [
        "a",
        "b",
    ]
    assert read_models(b'{"data": {"id": "a"}}') == []
