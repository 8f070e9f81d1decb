"""Usage errors on one line: what was given, what can be given, and the nearest of these."""

import re

from gnnflow.errors import ConfigError, did_you_mean

_FRAME = "│╭╮╰╯|+ "
_RULE = re.compile(r"[-─]{5,}")
_CHOICE = re.compile(r"invalid choice '(.*)' for argument '(.*)'\. Expected one of \((.*)\)")
_VALUE = re.compile(r"Error parsing (\S+): (.*)")
_REASONS = (
    (re.compile(r"no type matching (\S+) could be instantiated from \[('[^']*')"), None),
    (re.compile(r"(invalid literal for int)\(\)[^:]*: ('[^']*')"), "a whole number"),
    (re.compile(r"(could not convert string to float): ('[^']*')"), "a number"),
)
_MISSING = re.compile(r"Missing from .*?: (\S+) (.*?)(?: \(required\))?$")


def usage_message(error: BaseException, printed: str) -> str:
    """Says on one line why the parser gave up.

    Args:
        error: What it raised; if a config refused a value, that is among its causes.
        printed: What it printed, a box for people.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConfigError):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    text = _unboxed(printed)
    if found := _CHOICE.search(text):
        given, name, listed = found.groups()
        choices = re.findall(r"'([^']*)'", listed)
        hint = did_you_mean(given, choices)
        return f"{name} must be one of {', '.join(choices)}; got '{given}'{hint}"
    if found := _VALUE.search(text):
        name, reason = found.groups()
        for sign, kind in _REASONS:
            if given := sign.search(reason):
                wanted = kind or re.sub(r"[{}]", "", given[1].replace("{None}|", ""))
                return f"{name} takes {wanted.replace('|', ' or ')}, got {given[2]}"
        return f"{name}: {reason}"
    if found := _MISSING.search(text):
        return f"{found[1]} is missing: {found[2]}"
    return text


def _unboxed(printed: str) -> str:
    """Returns the message of a box: what is between its title and the next rule."""
    lines = [line.strip(_FRAME) for line in printed.splitlines() if line[:1] not in "╭╰"]
    sections: list[list[str]] = [[]]
    for line in lines:
        if _RULE.fullmatch(line):
            sections.append([])
        elif line:
            sections[-1].append(line)
    titled = "╭" in printed  # then the title was in the frame
    found = [" ".join(section) for section in sections if section]
    return found[0] if titled or len(found) < 2 else found[1]
