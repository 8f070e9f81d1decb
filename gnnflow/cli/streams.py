"""Standard streams that are closed, or cannot show every character."""

import codecs
import io
import os
import sys

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
