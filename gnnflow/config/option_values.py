"""Options and their values: read from one word, listed in order, checked, kept without secrets."""

import dataclasses
import math
import urllib.parse
from pathlib import Path
from typing import Annotated, Any

import tyro

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


LISTED_BEFORE = "listed before"
"""In a field's metadata: the inherited option before which the field is listed."""


def listed_fields(config_class: type[Any]) -> list[dataclasses.Field[Any]]:
    """Returns the options of a class in the order in which they are shown."""
    listed: list[dataclasses.Field[Any]] = []
    for field in dataclasses.fields(config_class):
        names = [other.name for other in listed]
        follower = field.metadata.get(LISTED_BEFORE)
        listed.insert(len(names) if follower is None else names.index(follower), field)
    return listed


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


def require_at_least(config: Any, least: int, *names: str) -> None:
    """Raises `ConfigError` unless each of these options is a number from `least` on, or None."""
    rule = f"be at least {least}" if least else "not be negative"
    for name in names:
        value = getattr(config, name)
        require(value is None or value >= least, f"{name} must {rule}, got {value}")


def require(condition: bool, message: str) -> None:
    """Raises `ConfigError(message)` unless the condition holds."""
    if not condition:
        raise ConfigError(message)


_LARGEST = 2**31 - 1
_LARGEST_64_BITS = 2**63 - 1
_MAX_PARTS = 99_999
_LIMITS = {
    **dict.fromkeys(("threads", "llm_threads"), 1024),
    **dict.fromkeys(("ranks", "max_ranks", "num_parts", "hosts"), _MAX_PARTS),
    **dict.fromkeys(("exchange_every", "steer_exchange_every", "prefetch_depth"), 100_000),
    "hidden": 1 << 20,
    "halo_hops": 100,
}
_MAX_HOPS = 100
_REMEDIES = {"fanout": "; -1 keeps all neighbours"}
_ENDINGS_OF_64_BITS = ("seed", "_bytes", "num_vertices")


def check_whole_numbers(config: Any) -> None:
    """Checks every whole number of a dataclass of options, and of those in it, for its limit.

    Beyond it memory, threads or 64 bits run out.

    Raises:
        ConfigError: if one is larger, or is no whole number.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.type in (int, int | None):
            if value is not None:
                _check_whole_number(field.name, value)
        elif field.type == IntList:
            if len(value) > _MAX_HOPS:
                raise ConfigError(
                    f"{field.name} must have at most {_MAX_HOPS} numbers, got {len(value)}"
                )
            for number in value:
                _check_whole_number(field.name, number)
        elif dataclasses.is_dataclass(value):
            check_whole_numbers(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            _check_whole_number(field.name, value)


def _check_whole_number(name: str, value: object) -> None:
    # Of what other libraries call a whole number, all that counts is that it is one.
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ConfigError(f"{name} must be a whole number, got {value!r:.80}")
    limit = _LIMITS.get(name, _LARGEST)
    if name.endswith(_ENDINGS_OF_64_BITS):
        limit = _LARGEST_64_BITS
    number = value.__index__()
    if number > limit:
        shown = number if number < 1 << 256 else f"a number of {number.bit_length()} bits"
        raise ConfigError(f"{name} must be at most {limit}, got {shown}{_REMEDIES.get(name, '')}")


_HIDDEN = "hidden"


def check_address(name: str, url: str) -> urllib.parse.SplitResult:
    """Takes an address of http or https apart.

    Args:
        name: the option, for the message, which does not repeat the address.
        url: the address.

    Raises:
        ConfigError: if it is no such address.
    """
    wrong = ConfigError(f"{name} must be an address as http://HOST:PORT/v1")
    try:
        parts = urllib.parse.urlsplit(url)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_whole = is_whole and parts.port != 0
    except ValueError:  # a port or a host of IPv6 that is none
        raise wrong from None
    if not is_whole or not url.isprintable() or " " in url:
        raise wrong
    return parts


def shown_address(url: str) -> str:
    """Returns an address as it may be printed and kept: no user, password, query or fragment."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return _HIDDEN
    host = parts.netloc.rpartition("@")[2]
    query = _HIDDEN if parts.query else ""
    return urllib.parse.urlunsplit((parts.scheme, host, parts.path, query, ""))


def recorded_options(config: Any) -> dict[str, Any]:
    """Options as values of JSON: paths as strings, tuples as lists, addresses without secrets.

    Args:
        config: a dataclass of options.
    """
    values: dict[str, Any] = _plain(config)
    return values


def _plain(value: Any, name: str = "") -> Any:
    if dataclasses.is_dataclass(value):
        return {
            field.name: _plain(getattr(value, field.name), field.name)
            for field in listed_fields(type(value))
        }
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str) and name.endswith("_url"):
        return shown_address(value)
    return str(value) if isinstance(value, Path) else value
