"""The summary of a run as its folder keeps it, checked for what pages and tables make of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnnflow.errors import DataError, one_line
from gnnflow.files.json_record import Count, FieldError, read_record
from gnnflow.files.json_text import INT64_LIMIT, parse_json, without_nan
from gnnflow.files.regular_file import read_regular
from gnnflow.policies.rivals import RIVALS

SUMMARY_FILE = "summary.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class SummaryEpoch:
    """What must be known of an epoch."""

    epoch: int
    epoch_time_s: float
    loss: float | None
    train_accuracy: float | None = None
    val_accuracy: float | None = None
    test_accuracy: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SummaryFacts:
    """What must be known of a run; its file holds more."""

    graph: str
    model: str
    score: str
    num_ranks: Count
    epoch_time_s: float
    total_time_s: float
    volume_rows: float
    volume_bytes: float
    rows_without_cache: float
    peak_memory_bytes: float
    hit_rate: float | None
    train_accuracy: float | None = None
    val_accuracy: float | None = None
    test_accuracy: float | None = None
    epochs: tuple[SummaryEpoch, ...]
    policy: Mapping[str, Any] | None = None
    config: Mapping[str, Any]


def read_summary(folder: Path) -> dict[str, Any]:
    """Reads `summary.json` of a run.

    Raises:
        DataError: If it is not there, as in the folder of a run that did not finish, or damaged.
    """
    path = folder / SUMMARY_FILE
    try:
        # Earlier versions wrote NaN, which is no JSON.
        summary = without_nan(parse_json(read_regular(path)))
        _check(summary)
    except FileNotFoundError:
        raise DataError(
            f"{folder} holds no {SUMMARY_FILE}, which a finished run leaves; "
            "give the folder that gnnflow-train wrote (--out)"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({one_line(error)}); run it again") from None
    checked: dict[str, Any] = summary
    return checked


def is_number(value: object) -> bool:
    """Whether a value of JSON is a number that counts and seconds could be; NaN is one."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and not (isinstance(value, int) and abs(value) >= INT64_LIMIT)
        and value not in (float("inf"), -float("inf"))
    )


def _check(summary: Any) -> None:
    if not isinstance(summary, dict):
        raise ValueError("it is no JSON object")
    try:
        facts = read_record(SummaryFacts, summary, ignoring=(SummaryFacts, SummaryEpoch))
    except FieldError as error:
        raise ValueError(f"'{error.field}' must {error.wanted}, got {error.found}") from None
    _require(facts.num_ranks > 0, "'num_ranks' must be a number from 1")
    _require(bool(facts.epochs), "'epochs' must be a list of epochs")
    policy = facts.policy
    if policy:
        _require(isinstance(policy.get("name"), str), "'policy' must have a name")
        for name in ("pass_at_1", *RIVALS):
            value = policy.get(name)
            _require(value is None or is_number(value), f"'{name}' must be a number or null")
    cache = facts.config.get("cache", {})
    _require(isinstance(cache, dict), "'cache' of 'config' must hold options")
    trace = cache.get("trace")
    paths = (facts.config.get("parts"), "" if trace is None else trace)
    _require(
        all(isinstance(path, str) and "\0" not in path for path in paths),
        "'parts' of 'config', and 'trace' of its 'cache', must be paths",
    )


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)
