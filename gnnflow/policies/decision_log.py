"""Every decision as a line of JSON, and what they come to at the end of a run."""

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gnnflow.errors import ResourceError
from gnnflow.files.json_text import to_json_text
from gnnflow.files.whole_file import LineFile, make_folder
from gnnflow.policies.controller import Answer
from gnnflow.policies.decision import Outcome
from gnnflow.policies.observation import to_json
from gnnflow.policies.rivals import LEARNT, RIVALS

_HIT_RATE_STEP = 0.005
_VOLUME_STEP = 0.01
_MAX_ERRORS = 20
_OTHER_ERRORS = "other errors"
_COUNTS = (
    *("points", "busy", "replacements", "judged", "right", "right_to_keep", "threshold_right"),
    *("hit_rate_known", "hit_rate_agreed", "volume_known", "volume_agreed"),
)


def decision_log_name(rank: int) -> str:
    """File of one rank's decisions in the folder of a run."""
    return f"decisions-rank{rank}.jsonl"


class DecisionLog:
    """Writes one line per answer: observation, decision, latency and measured effect."""

    def __init__(self, path: Path) -> None:
        """Starts the file anew, or goes on with it if it exists (a resumed run)."""
        make_folder(path.parent)
        self._file = LineFile(path)

    @property
    def problem(self) -> ResourceError | None:
        """Why lines are missing at its end, if any are."""
        return self._file.problem

    def write(self, answer: Answer, outcome: Outcome | None) -> None:
        """Writes a line, once the effect is known or if there will be none."""
        line = {
            "minibatch": answer.observation.minibatch,
            "status": answer.status,
            "error": answer.error,
            "latency_s": answer.latency_s,
            "decision": None if answer.decision is None else to_json(answer.decision),
            "outcome": None if outcome is None else to_json(outcome),
            "observation": to_json(answer.observation),
        }
        self._file.write(to_json_text(line) + "\n")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> Self:
        """Gives itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the file."""
        self.close()


@dataclass(slots=True)
class DecisionStatistics:
    """Counts over decisions, of one rank or of all."""

    points: int = 0
    """Decision points."""

    busy: int = 0
    """Points where the policy was not asked, since it was starting or still busy."""

    statuses: Counter[str] = field(default_factory=Counter)
    """Answers by status."""

    errors: Counter[str] = field(default_factory=Counter)
    """What went wrong, by its line."""

    replacements: int = 0
    """Replacements carried out."""

    latencies_s: "array[float]" = field(default_factory=lambda: array("d"))
    """Seconds from question to answer, of answers that came."""

    judged: int = 0
    """Decisions whose better alternative is known."""

    right: int = 0
    """Those that took the better one."""

    right_to_keep: int = 0
    """Those for which keeping still was the better one."""

    threshold_right: int = 0
    """Those for which a threshold on one number took the better one."""

    hit_rate_known: int = 0
    """Decisions that expected a change of the hit rate, and whose effect was measured."""

    hit_rate_agreed: int = 0
    """Those where both had the same sign."""

    volume_known: int = 0
    """Decisions that expected a change of the volume, and whose effect was measured."""

    volume_agreed: int = 0
    """Those where both had the same sign."""

    def add_point(self, *, asked: bool) -> None:
        """Counts a decision point."""
        self.points += 1
        self.busy += not asked

    def add(self, answer: Answer, outcome: Outcome | None) -> None:
        """Counts an answer, and its effect if that is known."""
        self.statuses[answer.status] += 1
        if answer.error is not None and answer.status != "stale":
            known = answer.error in self.errors or len(self.errors) < _MAX_ERRORS
            self.errors[answer.error if known else _OTHER_ERRORS] += 1
        decision = answer.decision
        if decision is None:
            return
        self.latencies_s.append(answer.latency_s)
        if answer.status != "valid":
            return
        self.replacements += decision.replace
        if outcome is None:
            return
        if outcome.best_replace is not None:
            self.judged += 1
            self.right += decision.replace == outcome.best_replace
            self.right_to_keep += not outcome.best_replace
            self.threshold_right += LEARNT.replaces(answer.observation) == outcome.best_replace
        expected = decision.expected_hit_rate_change
        if expected is not None:
            self.hit_rate_known += 1
            self.hit_rate_agreed += _agree(expected, outcome.hit_rate_change, _HIT_RATE_STEP)
        expected = decision.expected_volume_change
        if expected is not None:
            self.volume_known += 1
            self.volume_agreed += _agree(expected, outcome.volume_change, _VOLUME_STEP)

    def summary(self) -> dict[str, Any]:
        """The figures of the end table; None where there is nothing to tell.

        Shares are over answers. `pass_at_1` is the share of decisions that took the better of the
        two alternatives, over those for which it is known, and stands beside what `RIVALS` would
        have had over the same decisions. Every policy brings about its own situations, so it tells
        nothing about other policies. The agreements are the shares of
        decisions whose expected effect had the sign of the measured one. `errors` counts what
        went wrong, the most frequent first.
        """
        answers = sum(self.statuses.values())
        return {
            "decision_points": self.points,
            "decisions": answers,
            "replacements": self.replacements,
            "valid_share": _share(self.statuses["valid"], answers),
            "stale_share": _share(self.statuses["stale"], answers),
            "failed_share": _share(self.statuses["failed"], answers),
            "timeout_share": _share(self.statuses["timeout"], answers),
            "busy_share": _share(self.busy, self.points),
            "latency_median_s": _quantile(self.latencies_s, 0.5),
            "latency_p95_s": _quantile(self.latencies_s, 0.95),
            "pass_at_1": _share(self.right, self.judged),
            **dict(zip(RIVALS, self._rivals(), strict=True)),
            "hit_rate_agreement": _share(self.hit_rate_agreed, self.hit_rate_known),
            "volume_agreement": _share(self.volume_agreed, self.volume_known),
            "errors": dict(self.errors.most_common()),
        }

    def _rivals(self) -> tuple[float | None, float | None, float | None]:
        right_to_replace = self.judged - self.right_to_keep
        return (
            _share(self.right_to_keep, self.judged),
            _share(right_to_replace, self.judged),
            _share(self.threshold_right, self.judged),
        )

    def to_json(self) -> dict[str, Any]:
        """The counts as JSON values, for `merged`."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return values | {"latencies_s": self.latencies_s.tolist()}

    @classmethod
    def merged(cls, parts: Iterable[dict[str, Any]]) -> "DecisionStatistics":
        """Adds up what `to_json` gave on each rank."""
        total = cls()
        for part in parts:
            for name in _COUNTS:
                setattr(total, name, getattr(total, name) + part[name])
            total.statuses.update(part["statuses"])
            total.errors.update(part["errors"])
            total.latencies_s.extend(part["latencies_s"])
        return total


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _quantile(values: Sequence[float], share: float) -> float | None:
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(math.ceil(share * len(ordered)), len(ordered)) - 1]


def _agree(expected: float, measured: float, step: float) -> bool:
    return _sign(expected, step) == _sign(measured, step)


def _sign(value: float, step: float) -> int:
    return 0 if abs(value) < step else (1 if value > 0 else -1)
