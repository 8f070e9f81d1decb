"""What a model's folder may ask for, which is less than what transformers and peft would do.

A folder comes from a stranger. Its files name classes, packages, kernels, other models and regular
expressions; here only plain weights and plain settings get through.
"""

import re
from pathlib import Path
from typing import Any

from gnnflow.errors import one_line
from gnnflow.files.json_text import parse_json
from gnnflow.files.regular_file import read_regular
from gnnflow.optional import require_package
from gnnflow.policies.decision import PolicyError
from gnnflow.policies.llm.model.model_files import locate_model

ADAPTER_FILE = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"

_EXTRA = {"extra": "llm", "purpose": "the language model policy"}
_MAX_JSON_BYTES = 64 << 20
_MAX_TEMPLATE = 1 << 18
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
# What transformers and peft read of a model; nothing that can hold code.
_FETCHED = ["*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", "model*.safetensors",
            ADAPTER_WEIGHTS]  # fmt: skip
_QUANTIZED = ("quantization_config", "compression_config")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}\.safetensors")


def fetch_model(name: str, *, adapter: Path | None = None) -> Path:
    """Finds a model, and brings it from the hub if it is there and may be.

    Args:
        name: see `locate_model`.
        adapter: the adapter whose file gives the name; the hub is not asked then.

    Returns:
        Its folder.

    Raises:
        PolicyError: if there is no such model.
        MissingExtraError: if a package for it is missing.
    """
    where = locate_model(name)
    if Path(where).is_dir():
        return Path(where)
    hub = require_package("huggingface_hub", **_EXTRA)
    try:
        folder = hub.snapshot_download(
            where,
            allow_patterns=_FETCHED,
            ignore_patterns=["*/*"],
            local_files_only=adapter is not None,
        )
    except Exception as error:
        if adapter is not None:
            raise PolicyError(
                f"the adapter {adapter} belongs to the model {name}, which is not on this machine; "
                "gnnflow fetches nothing that a file names: bring it here first, as by hf download"
            ) from None
        reason = one_line(error)[:300]
        raise PolicyError(f"cannot get the language model {name}: {reason}") from None
    return Path(folder)


def read_json(file: Path) -> dict[str, Any]:
    """Reads a JSON object of a model's folder.

    Raises:
        PolicyError: if there is no such file, or it holds something else.
    """
    if not file.is_file():
        raise PolicyError(f"there is no file {file}")
    size = file.stat().st_size
    if size > _MAX_JSON_BYTES:
        raise PolicyError(f"{file} has {size} bytes, at most {_MAX_JSON_BYTES}")
    try:
        values = parse_json(read_regular(file))
    except (OSError, ValueError) as error:
        raise PolicyError(f"{file} is no JSON: {one_line(error)}") from None
    if not isinstance(values, dict):
        raise PolicyError(f"{file} must hold a JSON object")
    return values


def load_config(folder: Path) -> Any:
    """Reads the configuration of a model, what it must not decide put right.

    Args:
        folder: the model's, not one of an adapter.

    Raises:
        PolicyError: if the folder needs code of its own or another package to be read, holds no
            safetensors, or is damaged.
    """
    transformers = require_package("transformers", **_EXTRA)
    if (folder / ADAPTER_FILE).is_file():
        raise PolicyError(f"{folder} holds an adapter, where a whole model is needed")
    values = read_json(folder / "config.json")
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in transformers.CONFIG_MAPPING:
        if "auto_map" in values:
            raise _needs_code(folder)
        raise PolicyError(
            f"{folder} holds a model of type {kind!r:.40}, which transformers "
            f"{transformers.__version__} does not know"
        )
    _check_quantization(folder, values)
    _check_weights(folder, values)
    config = transformers.AutoConfig.from_pretrained(
        folder, trust_remote_code=False, local_files_only=True
    )
    if type(config) not in transformers.MODEL_FOR_CAUSAL_LM_MAPPING:
        if "auto_map" in values:
            raise _needs_code(folder)
        raise PolicyError(f"{folder} holds a model of type '{kind}', which does not write text")
    model_class = transformers.MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    # The file could name kernels, which are code that a hub keeps.
    config._attn_implementation = (
        "sdpa" if getattr(model_class, "_supports_sdpa", False) else "eager"
    )
    config._experts_implementation = None
    return config


def load_tokenizer(folder: Path) -> Any:
    """Reads the tokenizer of a model.

    Raises:
        PolicyError: if it needs code of its own, or its chat template is too long.
    """
    transformers = require_package("transformers", **_EXTRA)
    auto = require_package("transformers.models.auto.tokenization_auto", **_EXTRA)
    base = transformers.PreTrainedTokenizerBase
    for name in ("tokenizer_config.json", "config.json"):
        file = folder / name
        kind = read_json(file).get("tokenizer_class") if file.is_file() else None
        if kind is None:
            continue
        # Any class of transformers could be named, also one that loads models its own way.
        found = auto.tokenizer_class_from_name(kind) if isinstance(kind, str) else object
        if found is not None and not (isinstance(found, type) and issubclass(found, base)):
            raise PolicyError(f"'tokenizer_class' of {file} is no tokenizer: {kind!r:.40}")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    except ValueError as error:
        if "trust_remote_code" in str(error):
            raise _needs_code(folder) from None
        raise
    template = tokenizer.chat_template
    length = len(template if isinstance(template, str) else str(template))
    if length > _MAX_TEMPLATE:
        raise PolicyError(
            f"the chat template of {folder} has {length} characters, at most {_MAX_TEMPLATE}"
        )
    return tokenizer


def _check_quantization(folder: Path, values: dict[str, Any]) -> None:
    """Other packages, or kernels of a hub, would read quantized weights."""
    parts = [values, *(part for part in values.values() if isinstance(part, dict))]
    for part in parts:
        for name in _QUANTIZED:
            if part.get(name):
                raise PolicyError(
                    f"{folder} is quantized ('{name}'), which gnnflow does not load; take "
                    "the model as it was before, a .gguf file, or a server with --llm-url"
                )


def _check_weights(folder: Path, values: dict[str, Any]) -> None:
    if values.get("transformers_weights") is not None:
        raise PolicyError(f"'transformers_weights' of {folder / 'config.json'} must not be set")
    found = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
    if found is None:
        raise PolicyError(
            f"{folder} holds no weights as safetensors; those in other files may hold code: "
            "save it again with save_pretrained"
        )
    if found.suffix == ".json":
        files = read_json(found).get("weight_map")
        names: set[Any] = set(files.values()) if isinstance(files, dict) else {None}
        for name in names:
            is_plain = isinstance(name, str) and bool(_FILE.fullmatch(name))
            if not is_plain or not (folder / name).is_file():
                raise PolicyError(f"{found} names {name!r:.80}, which is no file beside it")


def _needs_code(folder: Path) -> PolicyError:
    return PolicyError(
        f"{folder} brings code of its own ('auto_map'), which gnnflow never runs; take a model "
        "that transformers knows, or a server with --llm-url"
    )
