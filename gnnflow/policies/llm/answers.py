"""What a language model may answer, and the strict way from its text to a decision."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gnnflow.policies.decision import Decision, InvalidDecisionError
from gnnflow.policies.situations import Situation

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
"""JSON schema of an explained answer."""

_NUMBERS = [f" {sign}0.{part:02d}" for part in range(100) for sign in ("", "-")]
_FENCE = "```"


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
    """Reads an explained answer: the whole text must be one JSON object of `ANSWER_SCHEMA`.

    A code fence around it is taken off. Nothing is searched for: text before or after, a missing
    or further key, a key given twice, `"true"` for `true` are all errors.

    Raises:
        InvalidDecisionError: if the text is anything else.
    """
    try:
        values = json.loads(
            _without_fence(text), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        raise InvalidDecisionError(f"the answer is not JSON ({error}): {_short(text)}") from None
    if not isinstance(values, dict):
        raise InvalidDecisionError(f"the answer must be a JSON object, got {_short(text)}")
    properties = ANSWER_SCHEMA["properties"]
    missing = [name for name in ANSWER_SCHEMA["required"] if name not in values]
    unknown = [name for name in values if name not in properties]
    if missing or unknown:
        what = f"lacks '{missing[0]}'" if missing else f"has an unknown key '{unknown[0]}'"
        raise InvalidDecisionError(f"the answer {what}: {_short(text)}")
    for name, value in values.items():
        if not _fits(value, properties[name]):
            raise InvalidDecisionError(f"'{name}' of the answer has a wrong value: {_short(text)}")
    return Decision(
        replace=values["replace"],
        expected_hit_rate_change=float(values["expected_hit_rate_change"]),
        expected_volume_change=float(values["expected_volume_change"]),
        explanation=values["explanation"],
    )


def _fits(value: Any, schema: dict[str, Any]) -> bool:
    if schema["type"] == "boolean":
        return isinstance(value, bool)
    if schema["type"] == "string":
        return isinstance(value, str) and len(value) <= schema["maxLength"]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # An integer of a thousand digits is valid JSON and no float.
    return is_number and schema["minimum"] <= value <= schema["maximum"] and math.isfinite(value)


def _without_fence(text: str) -> str:
    lines = text.strip().splitlines()
    if len(lines) >= 2 and lines[0] in (_FENCE, f"{_FENCE}json") and lines[-1] == _FENCE:
        return "\n".join(lines[1:-1])
    return text


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key is given twice")
    return values


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:80] + "...")
