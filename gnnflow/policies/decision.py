"""What a policy answers, what came of it, and the interface of all policies."""

import dataclasses
import math
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, runtime_checkable

from gnnflow.errors import GnnflowError
from gnnflow.files.json_text import INT64_LIMIT
from gnnflow.policies.observation import Observation

WireDtype = Literal["stored", "bfloat16", "int8"]
WIRE_DTYPES: tuple[str, ...] = get_args(WireDtype)
MAX_EXPLANATION = 2000
FREE = "rows that arrived cost nothing to keep"
"""Why to say yes with a scorer that keeps what arrives: there is nothing to decide."""


class InvalidDecisionError(GnnflowError, ValueError):
    """A policy answered something that is not a decision."""


class PolicyError(GnnflowError, RuntimeError):
    """A policy could not answer: its model, server or file does not work."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What to do with the cache now."""

    replace: bool
    """Replace rows of the cache now."""

    fraction: float | None = None
    """Share of the planned replacement to carry out, best rows first, in (0, 1]; all by default."""

    expected_hit_rate_change: float | None = None
    """Expected hit rate afterwards minus hit rate now, in [-1, 1]."""

    expected_volume_change: float | None = None
    """Expected rows moved per minibatch afterwards over those now, minus 1; at least -1."""

    probability: float | None = None
    """How likely the policy thinks it that replacing is the better choice, in [0, 1]."""

    lookahead: int | None = None
    """Minibatches of the lookahead window from now on; unchanged by default."""

    exchange_every: int | None = None
    """Minibatches whose misses share one exchange from now on; unchanged by default."""

    wire_dtype: WireDtype | None = None
    """Type in which rows travel from now on; unchanged by default."""

    explanation: str = ""
    """Why, in words."""

    minibatch: int = -1
    """Minibatch whose observation this answers; the controller fills it in."""

    latency_s: float = 0.0
    """Seconds from question to answer; the controller fills it in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What was measured after a decision had been carried out."""

    minibatches: int
    """Minibatches measured."""

    hit_rate_change: float
    """Hit rate of those minibatches minus hit rate of the window that was observed."""

    volume_change: float
    """Rows moved per minibatch, filling included, over those of the observed window, minus 1."""

    stall_change_s: float = 0.0
    """Waiting seconds per minibatch minus those of the observed window."""

    saved_rows: float | None = None
    """Rows that replacing saves against keeping still over those minibatches, whichever was done
    (negative: replacing costs); unknown by default."""

    @property
    def best_replace(self) -> bool | None:
        """Whether replacing was the better choice; None if unknown or if both were equally good."""
        return None if not self.saved_rows else self.saved_rows > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class RankInfo:
    """Where a policy runs."""

    rank: int = 0
    """This rank."""

    num_ranks: int = 1
    """Ranks of the job."""

    host_rank: int = 0
    """This rank's number among those of its machine; 0 starts what the machine shares."""

    ranks_on_host: int = 1
    """Ranks on this machine."""

    job: str = field(default_factory=lambda: uuid.uuid4().hex)
    """A name that all ranks of this job on this machine share, and no other job; random by
    default, for one process."""

    seed: int = 0
    """Seed of the run."""

    period: int = 25
    """Minibatches between two replacements of the run's schedule, 0 for none."""

    run_dir: Path | None = None
    """Folder of the run, for logs."""


@runtime_checkable
class ReplacementPolicy(Protocol):
    """Decides at a decision point whether, and how much, to replace.

    A policy is called from one thread at a time, and not from the training thread. Three further
    methods are optional: see `LearningPolicy`, `StatefulPolicy` and `ClosablePolicy`.
    """

    @property
    def name(self) -> str:
        """Short name, for logs and tables."""

    def decide(self, observation: Observation) -> Decision:
        """Answers an observation; may raise, may be slow."""


@runtime_checkable
class LearningPolicy(ReplacementPolicy, Protocol):
    """A policy that is told what came of its decisions."""

    def feedback(self, observation: Observation, decision: Decision, outcome: Outcome) -> None:
        """Learns from the measured effect of one decision."""


@runtime_checkable
class StatefulPolicy(ReplacementPolicy, Protocol):
    """A policy whose state belongs into checkpoints."""

    def state(self) -> dict[str, Any]:
        """What it has learnt, as JSON values."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes up a state that `state` gave."""


@runtime_checkable
class ClosablePolicy(ReplacementPolicy, Protocol):
    """A policy that holds something to let go of: a process, a connection."""

    def close(self) -> None:
        """Lets go of it."""


def validate_decision(decision: Any) -> Decision:
    """Checks that an answer is a decision, field by field.

    Returns:
        The decision.

    Raises:
        InvalidDecisionError: if it is not, or if a field has another type or is out of range.
    """
    if not isinstance(decision, Decision):
        raise InvalidDecisionError(
            f"a policy must return a Decision, got a {type(decision).__name__}"
        )
    _require(isinstance(decision.replace, bool), "replace", "true or false", decision.replace)
    _check_number("fraction", decision.fraction, 0.0, 1.0)
    _require(decision.fraction != 0, "fraction", "more than 0", decision.fraction)
    _check_number("expected_hit_rate_change", decision.expected_hit_rate_change, -1.0, 1.0)
    _check_number("expected_volume_change", decision.expected_volume_change, -1.0, math.inf)
    _check_number("probability", decision.probability, 0.0, 1.0)
    _check_count("lookahead", decision.lookahead)
    _check_count("exchange_every", decision.exchange_every)
    _require(
        decision.wire_dtype is None or decision.wire_dtype in WIRE_DTYPES,
        "wire_dtype",
        f"one of {', '.join(WIRE_DTYPES)}",
        decision.wire_dtype,
    )
    _require(isinstance(decision.explanation, str), "explanation", "text", decision.explanation)
    if len(decision.explanation) > MAX_EXPLANATION:
        return dataclasses.replace(decision, explanation=decision.explanation[:MAX_EXPLANATION])
    return decision


def _require(condition: bool, name: str, expected: str, value: Any) -> None:
    if not condition:
        raise InvalidDecisionError(f"{name} of a decision must be {expected}, got {value!r:.80}")


def _check_number(name: str, value: Any, low: float, high: float) -> None:
    if value is not None:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        # Compared first: an integer of hundreds of digits is no float that could be finite.
        fits = is_number and low <= value <= high and value < INT64_LIMIT and math.isfinite(value)
        _require(fits, name, f"a finite number in [{low:g}, {high:g}]", value)


def _check_count(name: str, value: Any) -> None:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    _require(
        value is None or (is_whole and 1 <= value < INT64_LIMIT),
        name,
        "a whole number of at least 1",
        value,
    )
