"""Options as a run records them."""

import dataclasses
from pathlib import Path
from typing import Any

from gnnflow.config.addresses import shown_address


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
