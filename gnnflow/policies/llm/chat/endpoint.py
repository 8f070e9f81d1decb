"""Talks to any server with an OpenAI-compatible chat endpoint: vLLM, Ollama, llama.cpp, TGI."""

import base64
import email.utils
import http.client
import json
import logging
import os
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence

from gnnflow.config.option_values import check_address
from gnnflow.errors import one_line
from gnnflow.policies.decision import Decision, PolicyError
from gnnflow.policies.labelled_situations import Situation
from gnnflow.policies.llm.answers import parse_answer
from gnnflow.policies.llm.chat.chat_forms import (
    RequestForm,
    read_completion,
    read_models,
    read_problem,
)
from gnnflow.policies.llm.chat.http_request import Reply, exchange
from gnnflow.policies.llm.model.model_files import TUNED_MODEL
from gnnflow.policies.llm.prompt import Prompt
from gnnflow.policies.observation import Observation

KEY_VARIABLE = "GNNFLOW_LLM_KEY"

_LOGGER = logging.getLogger(__name__)
_WAITS_S = (0.2, 1.0)
_WORTH_RETRYING = (408, 429, 500, 502, 503, 504)
_MAX_WAIT_S = 3600.0
_MAX_STEPS = 16
_CHAT = "/chat/completions"
_DEFAULT_PATH = "/v1"
_SECRET_LENGTH = 6
_MAX_SHOWN = 8


class Endpoint:
    """The chat endpoint of a server.

    A key from the environment, or else a user and password in the address, goes into the header of
    the request; neither is shown anywhere, nor is the query of the address.
    """

    def __init__(
        self,
        url: str,
        model: str | None,
        *,
        timeout_s: float,
        answer_tokens: int = 1024,
        log_level: int = logging.WARNING,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Names a server; connects at the first question.

        Args:
            url: base address, as `http://HOST:PORT/v1`.
            model: name of the model there; None asks the server for its only one.
            timeout_s: seconds for a question, retries included.
            answer_tokens: tokens of an answer; more where the server says that it was cut.
            log_level: how loudly to say what the server refuses.
            sleep: waits between retries.

        Raises:
            ConfigError: if the address is not one of http or https.
        """
        self._parts = check_address("llm_url", url)
        self.host = self._parts.hostname or ""
        self._model = model
        self._timeout_s = timeout_s
        self._form = RequestForm(answer_tokens)
        self._log_level = log_level
        self._sleep = sleep
        self._not_before = 0.0

    def chat(self, messages: Sequence[dict[str, str]]) -> str:
        """Sends messages and gives the text of the answer.

        A busy or broken server is asked again, twice at most and within the time-out; one that
        refuses a part of the request is asked without it from then on.

        Raises:
            PolicyError: if there is no answer in time, or not one in the form of the interface.
        """
        deadline = time.monotonic() + self._timeout_s
        model = self._model = self._model or self._only_model(deadline)
        for _ in range(_MAX_STEPS):
            body = json.dumps(self._form.body(model, messages)).encode()
            reply = self._ask(_CHAT, body, deadline)
            problem = read_problem(reply.status, reply.body)
            if problem is not None:
                self._give_way(*problem)
                continue
            said = read_completion(reply.body)
            if said is None:
                raise self._error("sent no chat completion")
            if said.is_cut:
                self._allow_more_tokens()
                continue
            if not said.text.strip():
                why = f": {self._shown(said.refusal)}" if said.refusal else ""
                raise self._error(f"sent an empty answer{why}")
            return said.text
        raise self._error("refuses the question in every form")

    def _give_way(self, status: int, reason: str) -> None:
        """Asks for less from now on, or raises what the server said."""
        said = f"HTTP {status}{f': {self._shown(reason)}' if reason else ''}"
        missing = self._form.give_way(status, reason)
        if missing is None:
            raise self._error(said)
        _LOGGER.log(
            self._log_level,
            "the language model server %s refuses %s (%s); it is asked without",
            *(self.host, missing, said),
        )

    def _allow_more_tokens(self) -> None:
        before = self._form.answer_tokens
        if not self._form.allow_more_tokens():
            raise self._error(f"cut the answer at {before} tokens; take a model that thinks less")
        _LOGGER.info(
            "the language model server %s cut an answer at %d tokens; now %d are allowed",
            *(self.host, before, self._form.answer_tokens),
        )

    def _only_model(self, deadline: float) -> str:
        """The server's only model, or the one that has gnnflow's name."""
        reply = self._ask("/models", None, deadline)
        problem = read_problem(reply.status, reply.body)
        names = read_models(reply.body) if problem is None else []
        if TUNED_MODEL in names:
            return TUNED_MODEL
        if len(names) == 1:
            _LOGGER.info("language model %s of %s", self._shown(names[0]), self.host)
            return names[0]
        if not names:
            said = f" (HTTP {problem[0]})" if problem is not None else ""
            raise self._error(f"does not list its models{said}; name one with --llm-model")
        shown = ", ".join(self._shown(name) for name in names[:_MAX_SHOWN])
        more = ", ..." if len(names) > _MAX_SHOWN else ""
        raise self._error(f"has {len(names)} models: {shown}{more}; name one with --llm-model")

    def _ask(self, path: str, body: bytes | None, deadline: float) -> Reply:
        """Sends a request, again if the server is busy or broken."""
        if time.monotonic() < self._not_before:
            raise self._error("still is to be left alone, as it asked by Retry-After")
        url, headers = self._url(path), self._headers()
        for wait_s in (*_WAITS_S, None):
            try:
                reply = exchange(url, headers, body, deadline=deadline)
            except TimeoutError:
                raise self._error("no answer in time") from None
            except (OSError, http.client.HTTPException, ValueError) as error:
                reason, asked_s = self._shown(one_line(error)), None
            else:
                problem = read_problem(reply.status, reply.body)
                if problem is None or problem[0] not in _WORTH_RETRYING:
                    return reply
                asked_s = _retry_after(reply.headers)
                if wait_s is None or self._form.is_about_request(*problem):
                    return reply
                reason = f"HTTP {problem[0]}{f': {self._shown(problem[1])}' if problem[1] else ''}"
            pause_s = asked_s if asked_s is not None else wait_s
            if pause_s is None or wait_s is None:
                break
            if time.monotonic() + pause_s >= deadline:
                if asked_s is not None:
                    self._not_before = time.monotonic() + asked_s
                break
            self._sleep(pause_s)
        raise self._error(reason)

    def _url(self, path: str) -> str:
        base = self._parts.path.rstrip("/").removesuffix(_CHAT) or _DEFAULT_PATH
        netloc = self._parts.netloc.rpartition("@")[2]
        return urllib.parse.urlunsplit(
            (self._parts.scheme, netloc, base + path, self._parts.query, "")
        )

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        key, login = _key(), self._login()
        if not key.isprintable() or not key.isascii():
            raise self._error(f"cannot be asked: {KEY_VARIABLE} holds what no header can")
        if key:
            headers["Authorization"] = f"Bearer {key}"
        elif login:
            headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
        return headers

    def _login(self) -> str:
        user, password = self._parts.username or "", self._parts.password or ""
        login = f"{urllib.parse.unquote(user)}:{urllib.parse.unquote(password)}"
        return "" if login == ":" else login

    def _shown(self, text: str) -> str:
        """A server's words without what must not be shown, should it repeat that."""
        query = urllib.parse.parse_qsl(self._parts.query)
        password = self._parts.password or ""
        secrets = [_key(), password, urllib.parse.unquote(password), *(value for _, value in query)]
        for secret in secrets:
            if len(secret) >= _SECRET_LENGTH or (secret and secret == password):
                text = text.replace(secret, "***")
        return one_line(text)[:300]

    def _error(self, what: str) -> PolicyError:
        return PolicyError(f"the language model server {self.host}: {what}")


class EndpointPolicy:
    """The policy `llm` on a server elsewhere: it writes out each decision as JSON."""

    name = "llm"

    def __init__(self, endpoint: Endpoint, prompt: Prompt, examples: list[Situation]) -> None:
        """Builds the part of the prompt that stays the same."""
        self._endpoint = endpoint
        self._prompt = prompt
        self._messages = prompt.messages(examples)

    def decide(self, observation: Observation) -> Decision:
        """Asks the server and reads the decision in its answer."""
        question = {"role": "user", "content": self._prompt.question(observation)}
        return parse_answer(self._endpoint.chat([*self._messages, question]))


def _key() -> str:
    return os.environ.get(KEY_VARIABLE, "").strip()


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait, at most an hour; None if it does not."""
    value = headers.get("retry-after", "").strip()
    if value.isdecimal() and value.isascii():
        return min(float(value[:9]), _MAX_WAIT_S)
    try:
        date = email.utils.parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return None
    return min(max(date.timestamp() - time.time(), 0.0), _MAX_WAIT_S)
