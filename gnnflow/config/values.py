"""Checks of option values, and values that a command line writes in one word."""

import dataclasses
import math
from pathlib import Path
from typing import Annotated, Any

import tyro

from gnnflow.config.addresses import shown_address
from gnnflow.errors import ConfigError

IntList = Annotated[
    tuple[int, ...],
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT,INT,...",
        instance_from_str=lambda args: parse_int_list(args[0]),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda value: [",".join(str(number) for number in value)],
    ),
]


def parse_int_list(text: str) -> tuple[int, ...]:
    """Reads `"10,25"` as `(10, 25)`.

    Raises:
        ValueError: if a part is not a whole number (the command line shows it as a usage error).
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"expected whole numbers with commas between, as 10,25; got {text!r}"
        ) from None


MAX_SECONDS = 1e8
"""Longest time that an option takes, about three years; clocks of the system end somewhere."""


def require_positive(name: str, value: float | None, remedy: str) -> None:
    """Raises `ConfigError` unless a value is a finite number above 0, or None."""
    require(
        value is None or 0 < value < math.inf,
        f"{name} must be a positive finite number, got {value}; {remedy}",
    )


def require_not_negative(name: str, value: float, remedy: str) -> None:
    """Raises `ConfigError` unless a value is a finite number from 0 on."""
    require(
        0 <= value < math.inf,
        f"{name} must be a finite number from 0 on, got {value}; {remedy}",
    )


def require_seconds(name: str, value: float) -> None:
    """Raises `ConfigError` unless a value can be a time to wait."""
    require(
        0 < value <= MAX_SECONDS,
        f"{name} must be positive seconds, at most {MAX_SECONDS:g}, got {value}",
    )


def require(condition: bool, message: str) -> None:
    """Raises `ConfigError(message)` unless the condition holds."""
    if not condition:
        raise ConfigError(message)


def recorded_options(config: Any) -> dict[str, Any]:
    """Options as values of JSON: paths as strings, tuples as lists, addresses without secrets.

    Args:
        config: a dataclass of options.
    """
    values: dict[str, Any] = _plain(dataclasses.asdict(config))
    return values


def _plain(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _plain(item, key) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str) and name.endswith("_url"):
        return shown_address(value)
    return str(value) if isinstance(value, Path) else value
