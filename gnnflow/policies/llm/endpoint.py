"""Talks to any server with an OpenAI-compatible chat endpoint: vLLM, Ollama, llama.cpp, TGI."""

import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any

from gnnflow.errors import ConfigError, one_line
from gnnflow.policies.decision import Decision, PolicyError
from gnnflow.policies.llm.answers import ANSWER_SCHEMA, parse_answer
from gnnflow.policies.llm.prompt import Prompt
from gnnflow.policies.observation import Observation
from gnnflow.policies.situations import Situation

KEY_VARIABLE = "GNNFLOW_LLM_KEY"

_MAX_TOKENS = 200
_MAX_ANSWER_BYTES = 1 << 20
_PIECE_BYTES = 1 << 16
_WAITS_S = (0.2, 1.0)
_WORTH_RETRYING = (408, 429, 500, 502, 503, 504)


class Endpoint:
    """The chat endpoint of a server.

    The key comes from the environment and goes into the header of the request, nowhere else.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        timeout_s: float,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Names a server; connects at the first question.

        Args:
            url: base address, as `http://HOST:PORT/v1`.
            model: name of the model there.
            timeout_s: seconds for a question, retries included.
            sleep: waits between retries.

        Raises:
            ConfigError: if the address is not one of http or https.
        """
        parts = urllib.parse.urlsplit(url)
        # The address can hold a password: errors show the host alone.
        self.host = parts.hostname or ""
        if parts.scheme not in ("http", "https") or not self.host:
            raise ConfigError("llm_url must be an address as http://HOST:PORT/v1")
        self._url = url.rstrip("/") + "/chat/completions"
        self._model = model
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._asks_for_schema = True

    def chat(self, messages: Sequence[dict[str, str]]) -> str:
        """Sends messages and gives the text of the answer.

        A busy or broken server is asked again, twice at most and within the time-out.

        Raises:
            PolicyError: if there is no answer in time, or not one in the form of the interface.
        """
        deadline = time.monotonic() + self._timeout_s
        for wait_s in (*_WAITS_S, None):
            try:
                return self._chat_once(messages, deadline)
            except urllib.error.HTTPError as error:
                error.close()
                if error.code == 400 and self._asks_for_schema:
                    self._asks_for_schema = False  # an older server: the prompt has to do
                    continue
                reason = f"HTTP {error.code}"
                retry = error.code in _WORTH_RETRYING
            except (OSError, http.client.HTTPException) as error:
                reason = _reason(error)
                retry = not isinstance(error, TimeoutError)
            if wait_s is None or not retry or time.monotonic() + wait_s >= deadline:
                break
            self._sleep(wait_s)
        raise PolicyError(f"the language model server {self.host}: {reason}")

    def _chat_once(self, messages: Sequence[dict[str, str]], deadline: float) -> str:
        body: dict[str, Any] = {
            "model": self._model,
            "messages": list(messages),
            "temperature": 0,
            "max_tokens": _MAX_TOKENS,
        }
        if self._asks_for_schema:
            schema = {"name": "decision", "schema": ANSWER_SCHEMA, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        headers = {"Content-Type": "application/json"}
        key = os.environ.get(KEY_VARIABLE)
        if key:
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self._url, json.dumps(body).encode(), headers)
        remaining_s = max(deadline - time.monotonic(), 0.001)
        with _opener().open(request, timeout=remaining_s) as response:
            return self._content(_read(response, deadline))

    def _content(self, data: bytes) -> str:
        try:
            content = json.loads(data)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError, RecursionError):
            content = None
        if not isinstance(content, str):
            raise PolicyError(f"the language model server {self.host} sent no chat completion")
        return content


class EndpointPolicy:
    """The policy `llm` on a server elsewhere: it writes out each decision as JSON."""

    name = "llm"

    def __init__(self, endpoint: Endpoint, prompt: Prompt, examples: list[Situation]) -> None:
        """Builds the part of the prompt that stays the same."""
        self._endpoint = endpoint
        self._prompt = prompt
        self._messages = prompt.messages(examples)

    def decide(self, observation: Observation) -> Decision:
        """Asks the server and reads its answer strictly."""
        question = {"role": "user", "content": self._prompt.question(observation)}
        return parse_answer(self._endpoint.chat([*self._messages, question]))


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirects: the key would go along, to whatever place a server names."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Leaves the answer as the error that it is."""


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoRedirects)


def _read(response: http.client.HTTPResponse, deadline: float) -> bytes:
    """Reads an answer piece by piece, so that a server that trickles cannot hold on for ever."""
    data = bytearray()
    while piece := response.read1(_PIECE_BYTES):
        data += piece
        if len(data) >= _MAX_ANSWER_BYTES:
            break
        if time.monotonic() > deadline:
            raise TimeoutError
    return bytes(data[:_MAX_ANSWER_BYTES])


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    return one_line(cause)
