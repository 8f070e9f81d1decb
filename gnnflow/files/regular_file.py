"""Files from outside: nothing but regular files is opened, and none is read beyond a limit.

Opening a named pipe waits for whoever writes to it, a device gives bytes without end, and a file
with holes in it takes no room on a disk and all of it in memory.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from gnnflow.units import human_bytes

MAX_TEXT_BYTES = 1 << 30
"""Size of a description or a log beyond which it is not read."""

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


class UnfitFileError(OSError):
    """What a path leads to cannot be read as a file; says so without a number."""

    def __str__(self) -> str:
        """The reason alone."""
        return str(self.strerror)


def open_regular(path: Path | str) -> BinaryIO:
    """Opens a regular file for reading, whatever a path leads to and without waiting for it.

    Raises:
        OSError: There is none, it cannot be opened, or it is a pipe, a socket, a device or a
            folder; `strerror` says which.
    """
    _check_kind(path, os.stat(path))
    stream = open(os.fspath(path), "rb", opener=_open_at_once)
    try:
        # What is there now may be another thing than a moment ago.
        _check_kind(path, os.fstat(stream.fileno()))
    except OSError:
        stream.close()
        raise
    return stream


def read_regular(path: Path | str, limit_bytes: int = MAX_TEXT_BYTES) -> bytes:
    """Reads a whole regular file.

    Args:
        path: The file.
        limit_bytes: The most that it may hold; compared with its size before memory is asked for.

    Raises:
        OSError: As `open_regular`, or it is larger.
    """
    with open_regular(path) as stream:
        size_bytes = os.fstat(stream.fileno()).st_size
        if size_bytes > limit_bytes:
            what = f"it has {human_bytes(size_bytes)}, and may have {human_bytes(limit_bytes)}"
            raise UnfitFileError(errno.EFBIG, what, str(path))
        return stream.read(size_bytes)


def read_regular_text(path: Path | str, limit_bytes: int = MAX_TEXT_BYTES) -> str:
    """Reads a whole regular file of UTF-8 text.

    Raises:
        OSError: As `read_regular`.
        UnicodeDecodeError: It is no UTF-8.
    """
    # As text mode does, so that lines end as they do there.
    text = read_regular(path, limit_bytes).decode("utf-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _check_kind(path: Path | str, status: os.stat_result) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        what = _KINDS.get(kind, "something else")
        raise UnfitFileError(errno.EINVAL, f"it is {what}, not a file", str(path))


def lies_inside(folder: Path, path: Path) -> bool:
    """Whether a path is in a folder once `..` and symbolic links are followed.

    The folder itself may be reached by a link. A description that came from elsewhere could
    otherwise have any file of this machine read as part of a graph.
    """
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a circle of links; a name with a null byte
        return False
