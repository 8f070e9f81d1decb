"""What servers with an OpenAI-compatible chat endpoint understand, and what they say.

vLLM, Ollama, llama.cpp, TGI and OpenAI differ in what they take of a request and in how they put
answers and errors. A request starts with everything; what a server refuses is left out or put
otherwise, one thing at a time.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gnnflow.config.policy import MAX_ANSWER_TOKENS
from gnnflow.errors import one_line
from gnnflow.files.json_text import parse_json
from gnnflow.policies.llm.answers import ANSWER_SCHEMA, has_answer

_LEAST_TOKENS = 64
_MORE_TOKENS = 4
_MAX_REASON = 200
_FORMATS: dict[str, dict[str, Any]] = {
    "json_schema": {
        "type": "json_schema",
        "json_schema": {"name": "decision", "schema": ANSWER_SCHEMA, "strict": True},
    },
    "json_object": {"type": "json_object"},
}
_TOO_LONG = re.compile(r"too (large|long|many)|maximum context|context (length|size|window)|exceed")
_ABOUT_FORMAT = re.compile(r"response_?format|json|schema|grammar|guided|structured")
_ABOUT_ROLES = re.compile(r"\broles?\b|\bsystem\b")
_REFUSALS = (400, 413, 415, 422, 501)


class RequestForm:
    """How a server is asked: everything that it has not refused."""

    def __init__(self, answer_tokens: int) -> None:
        """Starts with everything.

        Args:
            answer_tokens: tokens that an answer may have.
        """
        self.answer_tokens = answer_tokens
        self._most_tokens = MAX_ANSWER_TOKENS
        self._tokens_names = ["max_tokens", "max_completion_tokens"]
        self._formats = list(_FORMATS)
        self._has_temperature = True
        self._has_system = True

    def body(self, model: str, messages: Sequence[dict[str, str]]) -> dict[str, Any]:
        """The request for an answer to messages, as values of JSON."""
        values: dict[str, Any] = {"model": model, "messages": list(messages)}
        if not self._has_system:
            values["messages"] = _without_system(messages)
        if self._has_temperature:
            values["temperature"] = 0
        if self._tokens_names:
            values[self._tokens_names[0]] = self.answer_tokens
        if self._formats:
            values["response_format"] = _FORMATS[self._formats[0]]
        return values

    def give_way(self, status: int, reason: str) -> str | None:
        """Leaves out, or puts otherwise, what a server seems to refuse.

        Args:
            status: HTTP status of its answer.
            reason: what it said.

        Returns:
            What will be missing; None if nothing is left that it could mean.
        """
        named = self._named(reason.lower()) if self.is_about_request(status, reason) else None
        if named is not None or status not in _REFUSALS:
            return named
        return self._next_format() or self._next_tokens_name()

    def is_about_request(self, status: int, reason: str) -> bool:
        """Whether a server has something against the request, and is not broken or busy."""
        words = reason.lower()
        # llama.cpp and others answer 500 where a template or a grammar fails.
        return status in _REFUSALS or (
            status == 500 and bool(_ABOUT_FORMAT.search(words) or _ABOUT_ROLES.search(words))
        )

    def allow_more_tokens(self) -> bool:
        """Lets answers be longer; tells whether that was possible."""
        before = self.answer_tokens
        self.answer_tokens = min(_MORE_TOKENS * before, self._most_tokens)
        return bool(self._tokens_names) and self.answer_tokens > before

    def _named(self, words: str) -> str | None:
        if _TOO_LONG.search(words) and self._tokens_names:
            if self.answer_tokens // 2 < _LEAST_TOKENS:
                return None
            self.answer_tokens //= 2
            self._most_tokens = self.answer_tokens
            return f"answers of more than {self.answer_tokens} tokens"
        if "max_tokens" in words or "max_completion_tokens" in words:
            return self._next_tokens_name()
        if "temperature" in words and self._has_temperature:
            self._has_temperature = False
            return "temperature"
        if _ABOUT_FORMAT.search(words) and self._formats:
            return self._next_format()
        if _ABOUT_ROLES.search(words) and self._has_system:
            self._has_system = False
            return "a message of the system"
        return None

    def _next_format(self) -> str | None:
        return f"response_format {self._formats.pop(0)}" if self._formats else None

    def _next_tokens_name(self) -> str | None:
        return self._tokens_names.pop(0) if self._tokens_names else None


@dataclass(frozen=True, slots=True)
class Said:
    """What a model wrote."""

    text: str
    """The answer, or what it thought where it wrote nothing else."""

    is_cut: bool
    """Whether the limit of tokens ended it before the answer was complete."""

    refusal: str = ""
    """Why the model would not answer."""


def read_completion(body: bytes) -> Said | None:
    """Reads the answer of a chat endpoint; None if it is none."""
    reply = _json_object(body)
    choices = reply.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        return None
    text = _text(message.get("content"))
    # Some servers take the whole answer for thoughts, or call it so.
    thoughts = _text(message.get("reasoning_content")) or _text(message.get("reasoning"))
    if not text.strip() and has_answer(thoughts):
        text = thoughts
    is_cut = choice.get("finish_reason") == "length" and not has_answer(text)
    refusal = message.get("refusal")
    return Said(text, is_cut, refusal if isinstance(refusal, str) else "")


def read_models(body: bytes) -> list[str]:
    """Reads the names in a server's list of models, each once."""
    reply = _json_object(body)
    models = reply.get("data") or reply.get("models")
    entries = models if isinstance(models, list) else []
    found = [
        entry.get("id") or entry.get("name") or entry.get("model")
        for entry in entries
        if isinstance(entry, dict)
    ]
    return list(dict.fromkeys(name for name in found if isinstance(name, str)))


def read_problem(status: int, body: bytes) -> tuple[int, str] | None:
    """Reads what is wrong, if something is; some servers say so under status 200.

    Returns:
        The status and the server's own words, on one line; None if nothing is wrong.
    """
    reply = _json_object(body)
    error = reply.get("error")
    if status == 200:
        if not error or reply.get("choices"):
            return None
        code = error.get("code") if isinstance(error, dict) else None
        status = code if type(code) is int and 400 <= code < 600 else 400
    reason = _words(error) or _words(reply)
    if not reason and not reply and not body.lstrip().startswith(b"<"):
        reason = body[: 4 * _MAX_REASON].decode("utf-8", "replace")
    reason = "".join(char if char.isprintable() else " " for char in reason)
    reason = one_line(reason) if reason.strip() else ""
    return status, reason if len(reason) <= _MAX_REASON else reason[:_MAX_REASON] + "..."


def _words(error: Any) -> str:
    """The message of an error, in whichever of the usual places it is."""
    if isinstance(error, str):
        return error
    if isinstance(error, list):  # what fastapi says of a field
        return "; ".join(filter(None, map(_words, error[:4])))
    if not isinstance(error, dict):
        return ""
    places = (error.get(name) for name in ("message", "detail", "msg", "error"))
    return next(filter(None, map(_words, places)), "")


def _text(content: Any) -> str:
    """The text of a message, which may come in parts, thoughts left out."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    return "".join(text for text in texts if isinstance(text, str))


def _without_system(messages: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The same with what the system says at the head of what the user says first."""
    told = [each["content"] for each in messages if each["role"] == "system"]
    others = [dict(each) for each in messages if each["role"] != "system"]
    if others:
        others[0]["content"] = "\n\n".join([*told, others[0]["content"]])
    return others


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        values = parse_json(body)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
