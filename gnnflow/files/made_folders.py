"""Folders that go again if what was to come into them did not."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def made_folders(folder: Path) -> Iterator[None]:
    """Makes a folder and those above it; on an error removes what was made and is still empty.

    Args:
        folder: The folder, which may be there already.

    Raises:
        OSError: It cannot be made.
    """
    folder = folder.absolute()
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for path in missing:
            with suppress(OSError):
                _remove_empty(path)
        raise


def _remove_empty(folder: Path) -> None:
    """Removes a folder in which there are but empty folders."""
    for inner in folder.iterdir():
        if inner.is_dir() and not inner.is_symlink():
            _remove_empty(inner)
    folder.rmdir()
