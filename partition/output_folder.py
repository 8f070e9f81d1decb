"""A folder that appears complete or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gnnflow.errors import ConfigError


def check_output(out: Path) -> None:
    """Refuses a place where a new folder cannot be made.

    Raises:
        ConfigError: If `out` exists and is not an empty folder, or its parent is not writable.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists and is not empty; remove it or choose another --out")


@contextmanager
def staged_folder(out: Path) -> Iterator[Path]:
    """Gives a temporary folder beside `out` that becomes `out` if all goes well.

    On an error the temporary folder is removed; after a kill it stays behind under a name that
    says so, and without a manifest nothing reads it.

    Raises:
        ConfigError: If the folder cannot be made.
    """
    out = out.absolute()
    staging = out.with_name(f".{out.name}.unfinished-{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staging.mkdir()
    except OSError as error:
        raise ConfigError(
            f"cannot write to {out}: {error.strerror}; choose another --out"
        ) from None
    try:
        yield staging
        # Replaces an empty folder and fails on one that filled up in the meantime.
        os.replace(staging, out)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
