"""JSON from outside: parsed so that whatever is wrong with it is one kind of error."""

import json
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


def is_count(value: object) -> bool:
    """Whether a value of JSON is a whole number from 0 that fits into int64."""
    return type(value) is int and 0 <= value < INT64_LIMIT
