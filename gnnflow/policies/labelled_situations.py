"""Situations whose better choice is known: worked examples and the measure for calibration."""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from gnnflow.errors import DataError
from gnnflow.files.json_record import read_record
from gnnflow.files.json_text import parse_json
from gnnflow.files.regular_file import read_regular_text
from gnnflow.files.whole_file import whole_file
from gnnflow.policies.observation import Observation, to_json

_STAKE_SCALE = 4.0
_LEAST_STAKE = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """An observation and what replacing would save, found by replaying a trace both ways."""

    observation: Observation
    """What a policy would be told."""

    saved_rows: float
    """Rows that replacing saves against keeping still within the horizon; may be negative."""

    horizon: int
    """Minibatches over which both ways were replayed."""

    group: str
    """Graph and configuration it comes from; training and testing never share a group."""

    hit_rate_change: float = 0.0
    """Hit rate of the horizon with replacement minus hit rate without."""

    volume_change: float = 0.0
    """Rows moved with replacement over those moved without, minus 1."""

    @property
    def replace(self) -> bool:
        """Whether replacing is the better choice."""
        return self.saved_rows > 0


def with_margin(situation: Situation, margin: float) -> Situation:
    """The same situation, in which replacing has to save a margin to count as better.

    Whether a replacement saves rows against keeping still leaves out that it could also be made
    later, when the counts tell more about what is used often.

    Args:
        situation: as it was found.
        margin: rows to be saved for each row fetched, on top of the row itself.
    """
    needed = margin * situation.observation.state.incoming_rows
    return dataclasses.replace(situation, saved_rows=situation.saved_rows - needed)


def stake(situation: Situation) -> float:
    """How much a situation counts in training, in [0.1, 1].

    It grows with the rows that the choice decides about, as a share of all that are moved.
    """
    window = situation.observation.window
    moved = window.moved_rows_per_minibatch * situation.horizon
    share = _STAKE_SCALE * abs(situation.saved_rows) / max(moved, 1.0)
    return min(max(share, _LEAST_STAKE), 1.0)


def write_situations(path: Path, situations: Iterable[Situation]) -> int:
    """Writes situations as lines of JSON.

    Returns:
        How many.

    Raises:
        ResourceError: if the file cannot be written; then nothing of it stays.
    """
    count = 0
    with whole_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        for situation in situations:
            file.write(json.dumps(to_json(situation), allow_nan=False) + "\n")
            count += 1
    return count


def read_situations(path: Path) -> list[Situation]:
    """Reads what `write_situations` wrote.

    Raises:
        DataError: if the file cannot be read or a line is not a situation.
    """
    try:
        return list(_parse(path.name, read_regular_text(path)))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the situations {path}: {error}") from None


def shipped_situations(name: str) -> list[Situation]:
    """Situations that come with gnnflow: `examples` for prompts, `reference` for calibration."""
    file = resources.files("gnnflow.policies.llm") / f"{name}.jsonl"
    return list(_parse(file.name, file.read_text(encoding="utf-8")))


def _parse(name: str, text: str) -> Iterator[Situation]:
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            values: Any = parse_json(line)
            yield read_record(Situation, values)
        except ValueError as error:
            raise DataError(f"{name}, line {number}, is not a situation: {error}") from None
