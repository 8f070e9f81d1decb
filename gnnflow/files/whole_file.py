"""Files and folders that appear whole or not at all, and one line where they cannot be written."""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gnnflow.errors import GnnflowError, ResourceError, cannot_write

_LOGGER = logging.getLogger(__name__)


def write_whole(path: Path, content: str | bytes, what: str = "") -> None:
    """Writes a `whole_file` at once.

    Args:
        path: the file.
        content: all of it; text is written as UTF-8.
        what: what it holds, in words for the message, as `the page`.

    Raises:
        ResourceError: if it cannot be written.
    """
    data = content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace")
    with whole_file(path, what) as partial:
        partial.write_bytes(data)


@contextmanager
def whole_file(path: Path, what: str = "") -> Iterator[Path]:
    """Gives the temporary name to write to, which becomes `path` if all goes well.

    A device or a pipe is written to as it is, and a link keeps pointing where it does.

    Args:
        path: the file.
        what: what it holds, in words for the message, as `the page`.

    Raises:
        ResourceError: if it cannot be written.
    """
    try:
        if path.exists() and not path.is_file():
            yield path
            return
        with replaced_file(path.resolve()) as partial:
            yield partial
    except GnnflowError:
        raise
    except (OSError, ValueError) as error:
        raise cannot_write(path, error, what) from None


@contextmanager
def replaced_file(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Gives a name beside `path` to write to, which takes its place if all goes well.

    Args:
        path: the file.
        shared: whether several processes may write it at the same time; the last one stays.

    Raises:
        OSError: if it cannot be written; nothing is left beside it then.
    """
    own = f".{os.getpid()}" if shared else ""
    partial = path.with_name(f"{path.name}{own}.part")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Gives an empty folder beside `path` to fill, which becomes `path` if all goes well.

    Raises:
        OSError: if it cannot be made, or a folder of that name is there that is not empty.
    """
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield scratch
        scratch.chmod(0o755)
        scratch.rename(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def make_folder(path: Path, what: str = "") -> None:
    """Makes a folder and those above it; one that is there already is as good.

    Raises:
        ResourceError: if it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise cannot_write(path, error, what) from None


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


class LineFile:
    """A file that grows by whole lines; what cannot be written to it ends nothing else.

    After the first failure it takes no more lines, for a gap would read like a whole record.
    """

    def __init__(self, path: Path) -> None:
        """Opens the file to add to it, or makes it.

        Raises:
            ResourceError: if it cannot be opened.
        """
        self.path = path
        self.problem: ResourceError | None = None
        """Why it takes no more lines."""
        try:
            self._file = path.open("ab", buffering=0)
        except (OSError, ValueError) as error:
            raise cannot_write(path, error) from None

    def write(self, lines: str) -> None:
        """Adds lines, all of them or none; the first time that fails it says so in the log."""
        if self.problem is not None:
            return
        end = 0
        try:
            end = os.fstat(self._file.fileno()).st_size
            left = memoryview(lines.encode("utf-8"))
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            self.problem = cannot_write(self.path, error)
            with suppress(OSError):
                self._file.truncate(end)
            _LOGGER.warning("%s; the run goes on without these lines", self.problem)

    def close(self) -> None:
        """Closes the file."""
        with suppress(OSError):
            self._file.close()
