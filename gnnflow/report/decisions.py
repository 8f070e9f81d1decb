"""The decision logs of a run, in words."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gnnflow.errors import DataError
from gnnflow.files.json_text import parse_json
from gnnflow.files.regular_file import read_regular_text
from gnnflow.report.summary_file import is_number
from gnnflow.units import human_seconds, signed_percent

Kind = Literal["replace", "keep", "missed"]

_LOG_NAME = re.compile(r"decisions-rank(\d+)\.jsonl")


@dataclass(frozen=True, kw_only=True, slots=True)
class DecisionLine:
    """One answer of a policy."""

    rank: int
    """Who asked."""
    minibatch: int
    """Minibatch after which it was asked."""
    status: str
    """`valid`, or why it was not followed: `stale`, `failed`, `timeout`."""
    replace: bool | None
    """What was decided; None if nothing was."""
    fraction: float | None
    """Share of the replacement that was asked for."""
    explanation: str
    """Why, in the policy's words, or what went wrong."""
    latency_s: float
    """Seconds from question to answer."""
    expected_volume_change: float | None
    """Expected relative change of the rows moved; None if the policy did not say."""
    hit_rate_change: float | None
    """Measured change of the hit rate; None if it was not measured."""
    volume_change: float | None
    """Measured relative change of the rows moved; None if it was not measured."""

    @property
    def kind(self) -> Kind:
        """How it is drawn."""
        if self.status != "valid" or self.replace is None:
            return "missed"
        return "replace" if self.replace else "keep"

    @property
    def verdict(self) -> str:
        """The decision in a word or two."""
        if self.replace is None:
            return "no answer"
        if not self.replace:
            return "keep"
        return "replace" if self.fraction is None else f"replace {self.fraction:.0%}"

    @property
    def effect(self) -> str:
        """What was measured afterwards, or nothing."""
        parts = []
        if self.hit_rate_change is not None:
            parts.append(f"hit rate {signed_percent(self.hit_rate_change)[:-2]} points")
        if self.volume_change is not None:
            parts.append(f"rows moved {signed_percent(self.volume_change)}")
        return ", ".join(parts)

    @property
    def expected(self) -> str:
        """What the policy expected, or nothing."""
        if self.expected_volume_change is None:
            return ""
        return f"expected: rows moved {signed_percent(self.expected_volume_change)}"

    @property
    def lines(self) -> list[str]:
        """All of it, to be shown beside its mark."""
        head = f"{self.verdict} · minibatch {self.minibatch:,}, rank {self.rank}"
        status = "" if self.status == "valid" else f"{self.status} · "
        effect = f"measured: {self.effect}" if self.effect else ""
        said = [
            head,
            self.explanation,
            self.expected,
            effect,
            f"{status}answered in {human_seconds(self.latency_s)}",
        ]
        return [line for line in said if line]


def read_decisions(folder: Path) -> tuple[DecisionLine, ...]:
    """Reads the decisions of all ranks, in the order of minibatches.

    A run that was killed and goes on decides some things again; what it decided last counts.

    Raises:
        DataError: If a line is not one of a decision log.
    """
    decisions: dict[tuple[int, int], DecisionLine] = {}
    for path in sorted(folder.iterdir()):
        match = _LOG_NAME.fullmatch(path.name)
        if match is None:
            continue
        try:
            lines = read_regular_text(path).splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read: {error}") from None
        for number, line in enumerate(lines, start=1):
            try:
                decision = _decision(int(match[1]), parse_json(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                if number < len(lines):
                    raise DataError(f"{path}, line {number} is not a decision") from None
                continue
            decisions[decision.minibatch, decision.rank] = decision
    return tuple(decision for _, decision in sorted(decisions.items()))


def _decision(rank: int, line: dict[str, Any]) -> DecisionLine:
    decision: dict[str, Any] = line["decision"] or {}
    outcome: dict[str, Any] = line["outcome"] or {}
    minibatch, replace = line["minibatch"], decision.get("replace")
    latency_s = _number(line, "latency_s")
    if not isinstance(minibatch, int) or not (replace is None or isinstance(replace, bool)):
        raise ValueError("minibatches are numbers, decisions are yes or no")
    return DecisionLine(
        rank=rank,
        minibatch=minibatch,
        status=str(line["status"]),
        replace=replace,
        fraction=_number(decision, "fraction"),
        explanation=str(decision.get("explanation") or line["error"] or ""),
        latency_s=0.0 if latency_s is None else latency_s,
        expected_volume_change=_number(decision, "expected_volume_change"),
        hit_rate_change=_number(outcome, "hit_rate_change"),
        volume_change=_number(outcome, "volume_change"),
    )


def _number(values: Mapping[str, Any], name: str) -> float | None:
    value = values.get(name)
    if value is None:
        return None
    if not is_number(value) or not math.isfinite(value):
        raise ValueError(f"{name} must be a number")
    return float(value)
