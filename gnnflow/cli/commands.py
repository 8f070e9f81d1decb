"""Entry points of the commands.

What a command needs takes seconds to import; Ctrl-C meanwhile is told in one line as it is later.
"""

import codecs
import io
import os
import signal
import sys
from importlib import import_module
from pathlib import Path

_HANDLER = "gnnflow.plain"
_PLAIN = {
    "×": "x", "−": "-", "–": "-", "—": "-", "…": "...", "→": "->", "≤": "<=", "≥": ">=", "·": ".",
    "•": "*", "─": "-", "━": "-", "│": "|", "└": "+", "├": "+", "█": "#", "µ": "u",
}  # fmt: skip
_FIRST_ESCAPED, _LAST_ESCAPED = "\udc80", "\udcff"


def fill_streams() -> None:
    """Puts the null device where a standard stream is closed, as by `>&-`.

    The next file that is opened would take its place, and get what is printed.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+" if descriptor == 0 else "w", encoding="utf-8"))


def let_streams_print_everything() -> None:
    r"""Makes standard output and error print what their encoding lacks in other characters.

    In a locale of ASCII an unknown character would otherwise end a command with an error. Bytes of
    file names that are no text are printed as `\xff`.
    """
    codecs.register_error(_HANDLER, _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def _plain(error: UnicodeError) -> tuple[str, int]:
    """What stands for the characters that an encoding lacks, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if _FIRST_ESCAPED <= character <= _LAST_ESCAPED:
        return f"\\x{ord(character) - 0xDC00:02x}", error.start + 1
    escaped = character.encode("ascii", "backslashreplace").decode("ascii")
    return _PLAIN.get(character, escaped), error.start + 1


_RANK_VARIABLES = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID")


def doctor() -> None:
    """Runs `gnnflow-doctor`."""
    _run("doctor")


def infer() -> None:
    """Runs `gnnflow-infer`."""
    _run("infer")


def info() -> None:
    """Runs `gnnflow-info`."""
    _run("info")


def partition() -> None:
    """Runs `gnnflow-partition`."""
    _run("partition")


def policy() -> None:
    """Runs `gnnflow-policy`."""
    _run("policy")


def replay() -> None:
    """Runs `gnnflow-replay`."""
    _run("replay")


def report() -> None:
    """Runs `gnnflow-report`."""
    _run("report")


def train() -> None:
    """Runs `gnnflow-train`."""
    _run("train")


def is_first_rank() -> bool:
    """Whether this process speaks for all ranks of a job that say the same."""
    return all(os.environ.get(name, "0") == "0" for name in _RANK_VARIABLES)


def say_interrupted() -> None:
    """Says on one line that Ctrl-C was pressed."""
    if is_first_rank():
        print(f"{Path(sys.argv[0]).name}: error: interrupted", file=sys.stderr)


def _run(name: str) -> None:
    try:
        main = import_module(f"gnnflow.cli.{name}").main
    except KeyboardInterrupt:
        say_interrupted()
        raise SystemExit(128 + signal.SIGINT) from None
    main()
