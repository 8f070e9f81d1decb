"""What a language model may answer, and the way from its text to a decision."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gnnflow.policies.decision import Decision, InvalidDecisionError
from gnnflow.policies.labelled_situations import Situation

WORDS = ("yes", "no")
"""The answers that are scored, replacing first."""

ANSWER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "replace": {"type": "boolean"},
        "expected_hit_rate_change": {"type": "number", "minimum": -1, "maximum": 1},
        "expected_volume_change": {"type": "number", "minimum": -1, "maximum": 10},
        "explanation": {"type": "string", "maxLength": 1000},
    },
    "required": ["replace", "expected_hit_rate_change", "expected_volume_change", "explanation"],
    "additionalProperties": False,
}
"""JSON schema of an explained answer, as servers are asked for it."""

_NUMBERS = [f" {sign}0.{part:02d}" for part in range(100) for sign in ("", "-")]
_TRUTHS = {"yes": True, "true": True, "no": False, "false": False}
_THOUGHTS = r"(?:think|thinking|thought|thoughts|reasoning|reflection)"
_THOUGHTS_START = re.compile(rf"<{_THOUGHTS}>|\[THINK\]", re.IGNORECASE)
_THOUGHTS_END = re.compile(rf"</{_THOUGHTS}>|\[/THINK\]", re.IGNORECASE)
_MAX_READ = 1 << 16
_MAX_OBJECTS = 2048


@dataclass(frozen=True, slots=True)
class Literal:
    """Text that stands in the answer as it is."""

    text: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some texts, whichever the model prefers."""

    texts: Sequence[str]


@dataclass(frozen=True, slots=True)
class FreeText:
    """The inside of a JSON string, ended by the model or by a limit."""

    max_tokens: int


Part = Literal | Choice | FreeText

REPLACE_LEAD = '{"replace":'
REPLACE_CHOICES = (" true", " false")


def answer_parts(replace: bool, max_tokens: int = 48) -> list[Part]:
    """The parts of an explained answer after the decision itself, in order."""
    return [
        Literal(f"{REPLACE_LEAD}{REPLACE_CHOICES[0 if replace else 1]}"),
        Literal(', "expected_hit_rate_change":'),
        Choice(_NUMBERS),
        Literal(', "expected_volume_change":'),
        Choice(_NUMBERS),
        Literal(', "explanation": "'),
        FreeText(max_tokens),
        Literal('"}'),
    ]


def render_answer(situation: Situation, *, explain: bool) -> str:
    """The right answer to a worked example, in the form that is asked for."""
    if not explain:
        return WORDS[0 if situation.replace else 1]
    state = situation.observation.state
    verb = "saves" if situation.replace else "costs"
    explanation = (
        f"A row coming in is used {state.incoming_uses:.2f} times per minibatch, one going out "
        f"{state.outgoing_uses:.2f} times; replacing {verb} rows."
    )
    answer = {
        "replace": situation.replace,
        "expected_hit_rate_change": round(situation.hit_rate_change, 2),
        "expected_volume_change": round(situation.volume_change, 2),
        "explanation": explanation,
    }
    return json.dumps(answer)


def parse_answer(text: str) -> Decision:
    """Reads an explained answer out of what a language model wrote.

    The answer is the last JSON object with a `replace` that is true or false, also as a word
    (`"yes"`, `"false"`). What stands around it is passed over: thoughts in `<think>` or the like,
    prose, code fences, other objects. Everything but `replace` may be missing; what else does not
    fit `ANSWER_SCHEMA` is left out, for a decision is worth more than its explanation.

    Raises:
        InvalidDecisionError: if there is no such object.
    """
    whole = _objects(text)
    # An explanation may quote the mark that ends thoughts: what is one object is not cut.
    found = whole if _is_one_object(text) else _objects(_without_thoughts(text))
    answers = [values for values in found if "replace" in values]
    fitting = [values for values in answers if _truth(values["replace"]) is not None]
    if not fitting:
        what = (
            "has no 'replace' that is true or false"
            if answers
            else "lacks 'replace'"
            if found
            else "is not JSON"
        )
        raise InvalidDecisionError(f"the answer {what}: {_short(text)}")
    values = fitting[-1]
    explanation = values.get("explanation")
    return Decision(
        replace=_truth(values["replace"]) is True,
        expected_hit_rate_change=_number(values, "expected_hit_rate_change"),
        expected_volume_change=_number(values, "expected_volume_change"),
        explanation=_writable(explanation) if isinstance(explanation, str) else "",
    )


def has_answer(text: str) -> bool:
    """Whether `parse_answer` finds an answer in a text."""
    try:
        parse_answer(text)
    except InvalidDecisionError:
        return False
    return True


def _is_one_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _without_thoughts(text: str) -> str:
    """What is said after thinking; nothing of thoughts that never ended."""
    # Prompts of some models open the thoughts, so that only their end is written.
    said = _THOUGHTS_END.split(text)[-1]
    return _THOUGHTS_START.split(said)[0]


def _objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects in a text in order, and those inside of objects without a `replace`."""
    text = text[-_MAX_READ:]
    found = []
    start = text.find("{")
    for _ in range(_MAX_OBJECTS):
        if start < 0:
            break
        end = start + 1
        try:
            values, after = _DECODER.raw_decode(text, start)
            found.append(values)
            end = after if "replace" in values else end
        except (ValueError, RecursionError):
            pass
        start = text.find("{", end)
    return found


def _truth(value: Any) -> bool | None:
    if isinstance(value, str):
        return _TRUTHS.get(value.strip().lower())
    return value if isinstance(value, bool) else None


def _number(values: dict[str, Any], name: str) -> float | None:
    schema: dict[str, Any] = ANSWER_SCHEMA["properties"][name]
    value: Any = values.get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # An integer of a thousand digits is valid JSON and no float.
    fits = is_number and schema["minimum"] <= value <= schema["maximum"] and math.isfinite(value)
    return float(value) if fits else None


def _writable(text: str) -> str:
    """A text without halves of characters, which no file could hold, and not too long."""
    limit = ANSWER_SCHEMA["properties"]["explanation"]["maxLength"]
    return text[:limit].encode("utf-8", "replace").decode()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key is given twice")
    return values


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:80] + "...")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)
