"""JSON as it is exchanged: read so that what is wrong is one kind of error, written strictly."""

import json
import math
import re
from typing import Any

INT64_LIMIT = 2**63
"""What no count and no number of bytes reaches."""

_HALF_A_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(text: str | bytes) -> Any:
    """Parses JSON.

    Raises:
        ValueError: The text is no JSON, is nested too deeply, or holds half of a character, which
            could be read but never written or printed again.
    """
    try:
        text = text if isinstance(text, str) else text.decode("utf-8")
        values = json.loads(text)
        if _HALF_A_CHARACTER.search(text):
            json.dumps(values, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return values


def to_json_text(value: Any, *, indent: int | None = None, sort_keys: bool = False) -> str:
    """Writes JSON that every reader takes: a number that is NaN or infinite becomes null."""
    try:
        return json.dumps(value, indent=indent, sort_keys=sort_keys, allow_nan=False)
    except ValueError:
        finite = without_nan(value)
        return json.dumps(finite, indent=indent, sort_keys=sort_keys, allow_nan=False)


def without_nan(value: Any) -> Any:
    """The same value of JSON with None in place of numbers that are NaN or infinite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {without_nan(name): without_nan(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return value


def is_count(value: object) -> bool:
    """Whether a value of JSON is a whole number from 0 that fits into int64."""
    return type(value) is int and 0 <= value < INT64_LIMIT
