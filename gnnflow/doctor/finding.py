"""What was found out about one thing."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One line of the diagnosis."""

    name: str
    """What was looked at."""
    state: State
    """`ok`; `note` for what could be better; `problem` for what keeps jobs from running."""
    value: str
    """What is there."""
    advice: str = ""
    """What to change; nothing if all is well."""
