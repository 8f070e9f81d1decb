"""What gnnflow raises when a user can do something about it.

Every message gives the value that was wrong, the limit it broke and the remedy. The command
line prints it on one line; anything that is not a `GnnflowError` is a bug and shows a traceback.
"""

import difflib
import errno
import re
from collections.abc import Iterable

_LINE_ENDS = re.compile(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*")
# Control characters, marks that turn the direction of writing, halves of characters.
_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


class GnnflowError(Exception):
    """Base of all errors that gnnflow raises on purpose."""

    def __init__(self, message: object = "") -> None:
        """Takes the message; it is one line, whatever names and values from files are in it."""
        super().__init__(printable(_LINE_ENDS.sub(" ", str(message))))


class ConfigError(GnnflowError, ValueError):
    """An option has a value that cannot be used."""


class DataError(GnnflowError, ValueError):
    """A graph, a feature matrix, labels or a split cannot be used as they are."""


class PartitionFormatError(GnnflowError):
    """A partition folder is incomplete, damaged or of another version."""


class CheckpointError(GnnflowError):
    """A checkpoint is incomplete, damaged, of another version, model or graph."""


class CommError(GnnflowError, RuntimeError):
    """Ranks could not exchange what they had to: a time-out, a lost rank, a wrong launch."""


class ResourceError(GnnflowError, RuntimeError):
    """The machine has not enough of what was asked for, or a place cannot be used."""


class DivergedError(GnnflowError, ArithmeticError):
    """Training has come to losses or weights that are no numbers."""


class MissingExtraError(GnnflowError, ImportError):
    """An optional package is needed for what was asked and is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        """Names the package, what it is for and the command that installs it."""
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed: "
            f'pip install "gnnflow[{extra}]"'
        )


_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_DESCRIPTORS = {errno.EMFILE, errno.ENFILE}
_NO_PLACE = {
    *(errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR),
    *(errno.ELOOP, errno.EIO, errno.ESTALE, errno.ENXIO),
}


def cannot_write(path: object, error: BaseException, what: str = "") -> ResourceError:
    """Says which file or folder cannot be written, and why.

    Args:
        path: where it was to be.
        error: what came of it.
        what: what it holds, in words, as `the page`.
    """
    reason = getattr(error, "strerror", None) or one_line(error)
    full = isinstance(error, OSError) and error.errno in _NO_ROOM
    remedy = "free some space or choose another folder" if full else "choose another place"
    return ResourceError(f"cannot write {f'{what} ' if what else ''}{path}: {reason}; {remedy}")


def resource_error(error: BaseException) -> ResourceError | None:
    """Says it in words if memory, a disk or a table of files is full, or a place is unfit.

    Args:
        error: what Python, NumPy, torch or a kernel raised.

    Returns:
        The error to tell; None if it means something else.
    """
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return cannot_write("a file" if error.filename is None else error.filename, error)
    if isinstance(error, OSError) and error.errno in _NO_PLACE and error.filename is not None:
        return ResourceError(f"cannot use {error.filename}: {error.strerror}; choose another place")
    if isinstance(error, OSError) and error.errno in _NO_DESCRIPTORS:
        what = "" if error.filename is None else f" ({error.filename})"
        return ResourceError(f"too many open files{what}; raise the limit, as by ulimit -n 65536")
    # torch says so in a RuntimeError, and knows an OutOfMemoryError for GPUs.
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & {"MemoryError", "OutOfMemoryError"} or "can't allocate memory" in text:
        return ResourceError(
            f"out of memory{f' ({text})' if text else ''}; take a smaller --batch-size, --fanout "
            "or halo cache, fewer --threads, or more parts"
        )
    return None


def did_you_mean(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Says which known word was probably meant, for the message about one that is not known.

    Args:
        word: what was given.
        known: what could have been given.
        cutoff: how alike they must be, in [0, 1].

    Returns:
        `"; did you mean 'x'?"`, or nothing if no word is near.
    """
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f"; did you mean '{matches[0]}'?" if matches else ""


def printable(text: str) -> str:
    r"""The text with what a terminal would obey, as escape sequences, written out as `\x1b`.

    So are bytes of file names that are no text.
    """
    return _UNPRINTABLE.sub(_written_out, text)


def _written_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else repr(found[0])[1:-1]


def one_line(error: object) -> str:
    """Returns what an error says, on one line; its kind if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def kind_and_line(error: BaseException) -> str:
    """Returns the kind of an error and what it says, on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
