"""A folder that appears complete or not at all."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gnnflow.errors import ConfigError
from gnnflow.files.whole_file import made_folders, replaced_folder
from gnnflow.partition.manifest import MANIFEST_FILE


def check_output(out: Path, *, overwrite: bool = False) -> None:
    """Refuses a place where the new folder must not go.

    Args:
        out: Where the folder is to be.
        overwrite: Whether a partition that is there already may be replaced.

    Raises:
        ConfigError: If `out` exists, is not an empty folder and may not be replaced.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise ConfigError(
            f"{out} exists and is not empty; choose another --out, or --overwrite to replace it"
        )
    if not (out / MANIFEST_FILE).is_file():
        raise ConfigError(
            f"{out} is not a partition folder (it has no {MANIFEST_FILE}), so --overwrite does "
            "not replace it; choose another --out"
        )


@contextmanager
def staged_folder(out: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Gives a temporary folder beside `out` that becomes `out` if all goes well.

    On an error the temporary folder is removed. After a kill it stays behind under a hidden name
    that says so; a folder that is to be replaced stays until the new one is complete.

    Args:
        out: Where the folder is to be; `check_output` has accepted it.
        overwrite: Whether a partition that is there already may be replaced.

    Raises:
        ConfigError: If the folder cannot be made.
    """
    out = out.absolute()
    with ExitStack() as stack:
        try:
            stack.enter_context(made_folders(out.parent))
            staging = stack.enter_context(replaced_folder(out, own=True, replace=overwrite))
        except OSError as error:
            raise ConfigError(
                f"cannot write to {out}: {error.strerror}; choose another --out"
            ) from None
        yield staging
        check_output(out, overwrite=overwrite)
