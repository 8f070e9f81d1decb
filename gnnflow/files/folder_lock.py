"""A folder that one job at a time writes to."""

import errno
import fcntl
import os
import socket
import weakref
from contextlib import suppress
from pathlib import Path

from gnnflow.errors import ConfigError, cannot_write, printable
from gnnflow.files.whole_file import make_folder

LOCK_FILE = ".lock"
"""Its content is the process that holds the folder; the system's lock on it counts, not that it is
there: that ends with the process, however it ends."""

_MAX_TRIES = 100
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}


class FolderLock:
    """Holds a folder against other processes from when it is made until `release`.

    On disks without locks it holds nothing. Within a process a folder may be held several times.
    """

    def __init__(self, folder: Path, option: str) -> None:
        """Makes the folder if need be and takes it.

        Args:
            folder: the folder.
            option: the option that names it, for the message.

        Raises:
            ConfigError: if another process holds it.
            ResourceError: if it cannot be made or written to.
        """
        made = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]
        make_folder(folder)
        path = folder / LOCK_FILE
        try:
            descriptor, holder = _take(path)
        except OSError as error:
            raise cannot_write(path, error) from None
        if holder is not None and holder != _own_name():
            pid, _, host = holder.partition(" ")
            raise ConfigError(
                f"{folder} is in use by another job (process {pid or '?'} on {host or '?'}); wait "
                f"for it to end, or choose another {option}"
            )
        # Also when a program forgets it, and at the end of Python.
        self._end = weakref.finalize(self, _release, path, descriptor, os.getpid(), made)

    def release(self) -> None:
        """Lets others have the folder; what was made for it and is still empty goes."""
        self._end()


def _own_name() -> str:
    return f"{os.getpid()} {socket.gethostname()}"


def _take(path: Path) -> tuple[int | None, str | None]:
    """Opens and locks the file; returns its descriptor, or who has it (both None without locks)."""
    for _ in range(_MAX_TRIES):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever released it in between has removed the file that was opened here.
            if _is_at(path, descriptor):
                with suppress(OSError):  # of a full disk; the lock holds without a name
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, _own_name().encode(), 0)
                return descriptor, None
        except BlockingIOError:
            holder = os.pread(descriptor, 256, 0).decode("utf-8", "replace")
            os.close(descriptor)
            return None, printable(holder)
        except OSError as error:
            os.close(descriptor)
            if error.errno in _NO_LOCKS:
                return None, None
            raise
        os.close(descriptor)
    return None, None


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        there, here = os.stat(path), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def _release(path: Path, descriptor: int | None, pid: int, made: list[Path]) -> None:
    if descriptor is None or os.getpid() != pid:
        return
    with suppress(OSError):
        if _is_at(path, descriptor):
            path.unlink()
        os.close(descriptor)
        for folder in made:
            folder.rmdir()  # if it is empty
