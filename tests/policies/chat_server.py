"""Servers with a chat endpoint, on the loopback, for tests of the policy `llm`."""

import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWER = {
    "replace": True,
    "expected_hit_rate_change": 0.1,
    "expected_volume_change": -0.2,
    "explanation": "many stale rows",
}


def completion(content, finish_reason="stop", **message):
    message = {"role": "assistant", "content": content} | message
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return 200, json.dumps({"object": "chat.completion", "choices": [choice]}).encode()


GOOD = completion(json.dumps(ANSWER))


class Script:
    """A chat server that answers as a list says, then repeats the last; or as a function says."""

    def __init__(self):
        self.replies = [GOOD]
        self.answer: Callable | None = None
        self.models = (404, b"")
        self.requests = []
        self.paths = []
        self.headers = []
        self.sent_headers = {}
        self.location = None
        script = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                script.requests.append(json.loads(body))
                if script.answer is not None:
                    self.reply(*script.answer(script.requests[-1]))
                    return
                replies = script.replies
                status, data = replies.pop(0) if len(replies) > 1 else replies[0]
                if status == "slow":
                    script.go_on.wait(10)
                    return
                self.reply(status, data)

            def do_GET(self):
                self.reply(*script.models)

            def reply(self, status, data):
                script.paths.append(self.path)
                script.headers.append(dict(self.headers))
                self.send_response(status)
                for name, value in script.sent_headers.items():
                    self.send_header(name, value)
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


class Trickler:
    """A server that sends a start at once, then a byte now and then until it is left."""

    def __init__(self, start: bytes, more: bytes, end: bytes):
        self.is_left = threading.Event()
        self.stop = threading.Event()
        self._parts = start, more, end
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        start, more, end = self._parts
        connection, _ = self._listener.accept()
        with connection:
            try:
                connection.sendall(start)
                # Ends in the way of a good answer, so that a client without a limit is found out.
                for _ in range(400):
                    if self.stop.wait(0.03):
                        return
                    connection.sendall(more)
                connection.sendall(end)
            except OSError:
                self.is_left.set()

    def close(self):
        self.stop.set()
        self._thread.join(20)
        self._listener.close()


def server_error(status, message, **more):
    """An error as OpenAI, vLLM, Ollama and llama.cpp write it."""
    return status, json.dumps({"error": {"message": message} | more}).encode()


def vllm(request):
    """vLLM with a model whose template knows no system and that has little room."""
    if request["messages"][0]["role"] == "system":
        return server_error(400, "System role not supported", type="BadRequestError", code=400)
    if request.get("max_tokens", 0) > 300:
        return server_error(
            400,
            f"'max_tokens' or 'max_completion_tokens' is too large: {request['max_tokens']}. This "
            "model's maximum context length is 1024 tokens and your request has 700 input tokens",
        )
    return completion(None, reasoning_content=f"Let me see. {json.dumps(ANSWER)}")


def old_vllm(request):
    """vLLM before it had schemas, with errors at the top."""
    if "response_format" in request and request["response_format"]["type"] != "json_object":
        message = "1 validation error: body -> response_format -> type: permitted: 'json_object'"
        reply = {"object": "error", "message": message, "type": "invalid_request_error"}
        return 400, json.dumps(reply).encode()
    return completion(f"```\n{json.dumps(ANSWER)}\n```")


def ollama(request):
    """Ollama with a model that thinks aloud before it answers."""
    thoughts = '<think>\nShould I say {"replace": false}? No.\n</think>\n\n'
    if request["max_tokens"] < 2000:
        return completion(thoughts[:20], "length")
    return completion(f"{thoughts}Here it is:\n```json\n{json.dumps(ANSWER)}\n```\nGood luck!")


def llama_cpp(request):
    """llama.cpp with a template that fails on what it does not know."""
    if "response_format" in request:
        return server_error(500, "Failed to initialize samplers: failed to parse grammar", code=500)
    return completion('Sure: {"replace": "Yes"}')


def tgi(request):
    """TGI, whose response_format is another one."""
    if "response_format" in request:
        text = "Failed to deserialize the JSON body: response_format: missing field `value`"
        return 422, text.encode()
    return completion([{"type": "text", "text": json.dumps(ANSWER)}])


def openai(request):
    """OpenAI with a model that reasons."""
    for name, fault in (
        ("max_tokens", "Unsupported parameter: 'max_tokens' is not supported with this model. "
         "Use 'max_completion_tokens' instead."),
        ("temperature", "Unsupported value: 'temperature' does not support 0 with this model."),
    ):  # fmt: skip
        if name in request:
            return server_error(400, fault, param=name, code="unsupported_parameter")
    if request["max_completion_tokens"] < 4000:
        return completion("", "length")
    return completion(json.dumps(ANSWER))
