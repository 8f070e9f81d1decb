"""The folder in which a machine's model server listens: of this user alone, and gone after the job.

Whoever may put a link there, or write into it, could answer in place of the server.
"""

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gnnflow.errors import one_line
from gnnflow.policies.decision import PolicyError

_SOCKET = "llm.sock"


def socket_path(job: str) -> Path:
    """Makes the folder of a job on this machine; returns the path of the socket in it.

    Raises:
        PolicyError: if the folder cannot be made, is a link, or others may open it.
    """
    word = hashlib.sha256(job.encode()).hexdigest()[:16]
    try:
        folder = Path(tempfile.gettempdir()) / f"gnnflow-{os.getuid()}-{word}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        _check(folder, folder.lstat())
    except OSError as error:
        raise PolicyError(
            f"the model server has no place for its socket ({one_line(error)}); set TMPDIR to a "
            "folder that you can write to"
        ) from None
    return folder / _SOCKET


def error_path(socket: Path) -> Path:
    """Where a server that cannot start says why."""
    return socket.with_suffix(".error")


@contextlib.contextmanager
def short_name(socket: Path) -> Iterator[str]:
    """A name by which a socket can be bound and connected to: the kernel takes 107 bytes.

    Raises:
        OSError: if its folder is not there, or is a link.
        PolicyError: if others may open its folder.
    """
    folder = os.open(socket.parent, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _check(socket.parent, os.fstat(folder))
        yield f"/proc/self/fd/{folder}/{socket.name}"
    finally:
        os.close(folder)


def remove_folder(socket: Path) -> None:
    """Removes what the server left, and the folder."""
    with contextlib.suppress(OSError):
        for path in (socket, error_path(socket)):
            path.unlink(missing_ok=True)
        socket.parent.rmdir()


def _check(folder: Path, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode) or not stat.S_ISDIR(found.st_mode):
        reason = "is no folder but a link or a file"
    elif found.st_uid != os.getuid():
        reason = "belongs to another user"
    elif found.st_mode & 0o077:
        reason = f"is open to others (mode {stat.S_IMODE(found.st_mode):o})"
    else:
        return
    raise PolicyError(
        f"{folder}, where the model server is to listen, {reason}; remove it, or set TMPDIR to a "
        "folder of yours"
    )
