"""What is fuzzed: one reader of gnnflow's, valid input for it, and the way to damage that."""

import contextlib
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from gnnflow.errors import GnnflowError

RUNS_CODE = {"pickle.find_class", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn",
             "subprocess.Popen", "exec", "ctypes.dlopen", "socket.connect"}  # fmt: skip
"""Audit events that no input may cause; `exec` stands for code that was compiled from text."""

CHANGES_FILES = {"open", "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.symlink"}


class Target(ABC):
    """One way for data from outside to come in."""

    name: ClassVar[str]
    """Word by which it is asked for."""
    modules: ClassVar[tuple[str, ...]]
    """Modules whose coverage is reported."""
    words: ClassVar[tuple[str, ...]] = ()
    """Words of the format, for the fuzzer's dictionary."""

    def __init__(self, folder: Path) -> None:
        """Writes valid input into a folder of its own."""
        self.folder = folder

    @abstractmethod
    def run(self, data: bytes) -> None:
        """Reads the input that these bytes choose; raises what the reader raises."""

    def seeds(self) -> list[bytes]:
        """Inputs to start from."""
        return [bytes([how]) + bytes(range(how, how + 24)) for how in range(8)]

    def close(self) -> None:  # noqa: B027
        """Lets go of what the constructor opened, if anything."""


class Unsafe(Exception):
    """Data made gnnflow run code, or write to a place outside the target's folder."""


class _Watch:
    """Notes what audit events tell; a hook cannot be taken away, so there is one."""

    def __init__(self) -> None:
        self.root: str | None = None
        self.seen: list[str] = []
        self._installed = False

    def install(self) -> None:
        if not self._installed:
            sys.addaudithook(self._hook)
            self._installed = True

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.root is None:
            return
        if event in RUNS_CODE and not _is_ours(event, arguments):
            self.seen.append(f"{event} {arguments!r:.200}")
        elif event in CHANGES_FILES:
            if event == "open" and not (arguments[2] & 0o3):  # neither O_WRONLY nor O_RDWR
                return
            path = str(arguments[0])
            if event == "os.remove" and "/torch_geometric." in path:
                return  # PyG's own files, which a model takes away
            if path.startswith("/") and not path.startswith((self.root, "/dev/")):
                self.seen.append(f"{event} {path:.200}")


def _is_ours(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether the event is that of importing a module or making a dataclass, not of data."""
    if event != "exec":
        return False
    code = getattr(arguments[0], "co_filename", "")
    # Modules and templates that are imported; dataclasses and the like compile their methods.
    return code.endswith((".py", ".jinja")) or code.startswith("<")


WATCH = _Watch()


@contextlib.contextmanager
def _watched(root: Path) -> Iterator[None]:
    WATCH.install()
    WATCH.root, WATCH.seen = str(root), []
    try:
        yield
    finally:
        WATCH.root = None
    if WATCH.seen:
        raise Unsafe("; ".join(WATCH.seen[:3]))


def attempt(target: Target, data: bytes) -> Exception | None:
    """Tries one input; returns what makes it a finding, None if all is well.

    An error that a user can mend, in one line, is what is wanted; so is input that can be used.
    Warnings count as findings: behind them is a value that nobody checked.
    """
    try:
        with _watched(target.folder), warnings.catch_warnings():
            warnings.simplefilter("error")
            target.run(data)
    except GnnflowError as error:
        message = str(error)
        if not message.strip() or "\n" in message:
            return AssertionError(f"not a message of one line: {message!r}")
    except Exception as error:
        return error
    return None
