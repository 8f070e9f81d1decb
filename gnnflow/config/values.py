"""Checks of option values, and values that a command line writes in one word."""

from typing import Annotated

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


def require(condition: bool, message: str) -> None:
    """Raises `ConfigError(message)` unless the condition holds."""
    if not condition:
        raise ConfigError(message)
