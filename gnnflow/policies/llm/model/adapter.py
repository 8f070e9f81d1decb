"""Adapters of peft: plain LoRA, whose settings are numbers and names."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnnflow.files.json_text import to_json_text
from gnnflow.optional import require_package
from gnnflow.policies.decision import PolicyError
from gnnflow.policies.llm.model.model_folder import (
    ADAPTER_FILE,
    ADAPTER_WEIGHTS,
    fetch_model,
    read_json,
)

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_MAX_RANK = 4096


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter of peft that can be put on its base."""

    folder: Path
    """Where it is."""

    base: Path
    """Folder of the model that it belongs to."""

    settings: dict[str, Any]
    """Arguments of peft's `LoraConfig`."""


def read_adapter(folder: Path) -> Adapter:
    """Reads the settings of an adapter: plain LoRA, modules by name.

    Raises:
        PolicyError: if it is of another kind, if it asks for something else than plain numbers and
            names, if its weights are no safetensors, or if its base is not on this machine.
    """
    file = folder / ADAPTER_FILE
    values = read_json(file)
    if values.get("peft_type") != "LORA":
        raise PolicyError(f"{file} is of the kind {values.get('peft_type')!r:.40}, not LORA")
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise PolicyError(
            f"{folder} holds no {ADAPTER_WEIGHTS}; adapters in other files may hold code: "
            "save it again with save_pretrained"
        )
    base = values.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise PolicyError(f"{file} does not name the model that it belongs to")
    base_folder = fetch_model(base, adapter=folder)
    return Adapter(folder, base_folder, _lora_settings(file, values))


def _lora_settings(file: Path, values: dict[str, Any]) -> dict[str, Any]:
    peft = require_package("peft", extra="llm", purpose="a tuned adapter")
    defaults = peft.LoraConfig().to_dict()
    settings = {}
    for name, value in values.items():
        if name in _NOT_APPLIED or name not in defaults or value == defaults[name]:
            continue
        fits = _APPLIED.get(name)
        if fits is None and not value:
            continue
        if fits is None or not fits(value):
            raise PolicyError(
                f"'{name}' of {file} is {to_json_text(value)[:80]}, which gnnflow does not apply; "
                "it takes LoRA on modules that are listed by name"
            )
        settings[name] = value
    return settings


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and len(value) < 200 and bool(_NAME.fullmatch(value))


def _are_names(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(map(_is_name, value)))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MAX_RANK


def _are_layers(value: Any) -> bool:
    return value is None or _is_count(value) or (isinstance(value, list) and
                                                 all(map(_is_count, value)))  # fmt: skip


def _by_name(fits: Any) -> Any:
    return lambda value: (
        isinstance(value, dict)
        and all(_is_name(name) and fits(each) for name, each in value.items())
    )


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


# peft takes text here for a regular expression, some of which take longer than a lifetime.
_APPLIED = {
    "r": _is_count,
    "lora_alpha": _is_number,
    "target_modules": lambda value: value == "all-linear" or _are_names(value),
    "exclude_modules": _are_names,
    "modules_to_save": _are_names,
    "layers_to_transform": _are_layers,
    "layers_pattern": lambda value: _is_name(value) or _are_names(value),
    "rank_pattern": _by_name(_is_count),
    "alpha_pattern": _by_name(_is_number),
    "bias": lambda value: value in ("none", "all", "lora_only"),
    "fan_in_fan_out": _is_flag,
    "use_rslora": _is_flag,
    "use_dora": _is_flag,
    "lora_bias": _is_flag,
    "init_lora_weights": lambda value: value in ("gaussian", "orthogonal"),
    "task_type": lambda value: value == "CAUSAL_LM",
}
_NOT_APPLIED = {
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "lora_dropout",
    "peft_type",
    "peft_version",
    "revision",
    "runtime_config",
}
