"""The summary of a run as its folder keeps it, checked for what pages and tables make of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gnnflow.errors import DataError, one_line
from gnnflow.files.json_text import INT64_LIMIT, is_count, parse_json, without_nan
from gnnflow.files.regular_file import read_regular
from gnnflow.policies.rivals import RIVALS

SUMMARY_FILE = "summary.json"

_SCORES = ("train_accuracy", "val_accuracy", "test_accuracy")
_NUMBERS = ("epoch_time_s", "total_time_s", "volume_rows", "volume_bytes", "rows_without_cache",
            "peak_memory_bytes")  # fmt: skip


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
    _require(isinstance(summary, dict), "it is no JSON object")
    for name in ("graph", "model", "score"):
        _require(isinstance(summary.get(name), str), f"'{name}' must be text")
    num_ranks = summary.get("num_ranks")
    _require(is_count(num_ranks) and num_ranks > 0, "'num_ranks' must be a number from 1")
    for name in _NUMBERS:
        value = summary.get(name)
        _require(is_number(value) and value == value, f"'{name}' must be a number")
    _require("hit_rate" in summary, "'hit_rate' must be a number or null")
    for name in ("hit_rate", *_SCORES):
        _require_optional(summary, name)
    epochs = summary.get("epochs")
    _require(isinstance(epochs, list) and bool(epochs), "'epochs' must be a list of epochs")
    for epoch in epochs:
        fits = isinstance(epoch, dict) and type(epoch.get("epoch")) is int
        _require(fits, "each of 'epochs' must have its number")
        for name in ("epoch", "epoch_time_s"):
            _require(is_number(epoch.get(name)), f"'{name}' of each epoch must be a number")
        _require("loss" in epoch, "'loss' of each epoch must be a number or null")
        for name in ("loss", *_SCORES):
            _require_optional(epoch, name)
    policy = summary.get("policy")
    if policy is not None:
        fits = isinstance(policy, dict) and (not policy or isinstance(policy.get("name"), str))
        _require(fits, "'policy' must have a name")
        for name in ("pass_at_1", *RIVALS):
            _require_optional(policy, name)
    _check_config(summary.get("config"))


def _check_config(config: Any) -> None:
    _require(isinstance(config, dict), "'config' must hold the options of the run")
    cache = config.get("cache", {})
    _require(isinstance(cache, dict), "'cache' of 'config' must hold options")
    trace = cache.get("trace")
    paths = (config.get("parts"), "" if trace is None else trace)
    _require(
        all(isinstance(path, str) and "\0" not in path for path in paths),
        "'parts' of 'config', and 'trace' of its 'cache', must be paths",
    )


def _require_optional(values: Mapping[str, Any], name: str) -> None:
    value = values.get(name)
    _require(value is None or is_number(value), f"'{name}' must be a number or null")


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)
