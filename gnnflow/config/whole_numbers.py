"""How large whole numbers of options may be: beyond it memory, threads or 64 bits run out."""

import dataclasses
from typing import Any

from gnnflow.config.values import IntList
from gnnflow.errors import ConfigError

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

    Raises:
        ConfigError: if one is larger, or is no whole number.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.type in (int, int | None):
            if value is not None:
                _check(field.name, value)
        elif field.type == IntList:
            if len(value) > _MAX_HOPS:
                raise ConfigError(
                    f"{field.name} must have at most {_MAX_HOPS} numbers, got {len(value)}"
                )
            for number in value:
                _check(field.name, number)
        elif dataclasses.is_dataclass(value):
            check_whole_numbers(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            _check(field.name, value)


def _check(name: str, value: object) -> None:
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
