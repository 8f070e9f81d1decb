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

_PARTIAL = ".part"
_UNFINISHED = "unfinished"
_REPLACED = "replaced"
_REMOVED = "removed"


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
def replaced_file(path: Path, *, shared: bool = False, sync: bool = False) -> Iterator[Path]:
    """Gives a name beside `path` to write to, which takes its place if all goes well.

    Args:
        path: the file.
        shared: whether several processes may write it at the same time; the last one stays.
        sync: whether the content is to be on the disk before it takes the place.

    Raises:
        OSError: if it cannot be written; nothing is left beside it then.
    """
    own = f".{os.getpid()}" if shared else ""
    partial = path.with_name(f"{path.name}{own}{_PARTIAL}")
    try:
        yield partial
        if sync:
            _sync(partial)
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def write_synced(path: Path, content: bytes) -> None:
    """Writes a file; when this returns it is on the disk.

    Raises:
        OSError: if it cannot be written.
    """
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def whole_folder(path: Path, marker: str | None = None) -> Iterator[Path]:
    """Gives an empty folder beside `path` to fill, which becomes `path` if all goes well.

    Args:
        path: the folder.
        marker: a file that only whole folders hold. A folder that has it by now, because another
            process was faster, is as good as this one; one without it is removed.

    Raises:
        OSError: if it cannot be made, or a folder of that name is there that is not empty.
    """
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield scratch
        scratch.chmod(0o755)
        try:
            scratch.rename(path)
        except OSError:
            if marker is None:
                raise
            if not (path / marker).is_file():
                shutil.rmtree(path)
                scratch.rename(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def replaced_folder(
    path: Path, *, own: bool = False, replace: bool = True, sync: bool = False
) -> Iterator[Path]:
    """Gives an empty folder beside `path` to fill, which takes its place if all goes well.

    On an error it is removed. After a kill it stays under a hidden name that says so; a folder that
    is to be replaced stays until the new one is complete. `clear_leftovers` removes what stayed,
    but what belongs to one process.

    Args:
        path: the folder.
        own: whether several processes may make it at the same time; the last one stays.
        replace: whether a folder there is replaced that is not empty.
        sync: whether the folder is to be on the disk under its name before the one that it
            replaces is removed. Its files are the caller's, see `write_synced`.

    Raises:
        OSError: if it cannot be made, or `path` must not be replaced.
    """
    mark = f"-{os.getpid()}" if own else ""
    staging = _hidden(path, f"{_UNFINISHED}{mark}")
    replaced = _hidden(path, f"{_REPLACED}{mark}")
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        yield staging
        if replace and path.exists():
            os.replace(path, replaced)
        os.replace(staging, path)
        if sync:
            _sync(path.parent)
        shutil.rmtree(replaced, ignore_errors=True)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def remove_folder(path: Path) -> None:
    """Removes a folder; whatever happens, no half of it keeps its name.

    Raises:
        OSError: if it cannot be removed.
    """
    hidden = _hidden(path, _REMOVED)
    shutil.rmtree(hidden, ignore_errors=True)
    os.replace(path, hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def clear_leftovers(parent: Path) -> None:
    """Removes what a killed process left half done in a folder that no other one writes to.

    Raises:
        OSError: if something cannot be removed.
    """
    for path in parent.glob(f".*.{_REPLACED}"):
        # Killed between two renames: the old one is still the one of that name.
        original = path.with_name(path.name.removeprefix(".").removesuffix(f".{_REPLACED}"))
        if not original.exists():
            os.replace(path, original)
    patterns = [f".*.{ending}" for ending in (_UNFINISHED, _REPLACED, _REMOVED)]
    for path in [path for pattern in patterns for path in parent.glob(pattern)]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def clear_partial(path: Path) -> None:
    """Removes what a killed process left of `replaced_file`.

    Raises:
        OSError: if it cannot be removed.
    """
    path.with_name(f"{path.name}{_PARTIAL}").unlink(missing_ok=True)


def _hidden(path: Path, ending: str) -> Path:
    return path.with_name(f".{path.name}.{ending}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
