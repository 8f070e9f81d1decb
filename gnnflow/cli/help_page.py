"""The `--help` page of a command, from the same dataclasses as its options."""

import ast
import dataclasses
import inspect
import re
import shutil
import textwrap
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro

from gnnflow.config.option_values import listed_fields
from gnnflow.errors import ConfigError, did_you_mean

_MAX_WIDTH = 120
_LABEL_WIDTH = 26
_WORDS = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}

POSITIONAL_MARK = get_args(tyro.conf.Positional[int])[1]
"""What `tyro.conf.Positional` puts into the annotation of a field."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One option: where it sits in the nested config, and what the page says of it."""

    path: tuple[str, ...]
    """Names of the fields that lead to it."""
    hint: Any
    """Type of its value."""
    positional: bool
    """Whether it is given by place, without a name."""
    owner: type[Any]
    """The class of the field."""
    default: Any
    """Its default, `dataclasses.MISSING` if it must be given."""

    @property
    def name(self) -> str:
        """The name without dashes in front."""
        return self.path[-1].replace("_", "-")

    @property
    def is_flag(self) -> bool:
        """Whether it is given without a value."""
        return self.hint is bool


def entries(config_class: type[Any], default: Any = None) -> Iterator[Entry]:
    """Yields all options of a config class, those of nested groups included."""
    hints = get_type_hints(config_class, include_extras=True)
    for field in listed_fields(config_class):
        hint: Any = hints[field.name]
        marks: list[Any] = []
        value = field.default if default is None else getattr(default, field.name)
        if get_origin(hint) is Annotated:
            hint, *marks = get_args(hint)
        if dataclasses.is_dataclass(hint):
            group = None if value is dataclasses.MISSING else value
            for inner in entries(hint, group):  # type: ignore[arg-type]
                yield dataclasses.replace(inner, path=(field.name, *inner.path))
        else:
            yield Entry(
                path=(field.name,),
                hint=hints[field.name] if hint not in _WORDS and hint is not bool else hint,
                positional=any(mark is POSITIONAL_MARK for mark in marks),
                owner=config_class,
                default=value,
            )


def help_page(config_class: type[Any], prog: str) -> str:
    """Returns the page: usage, then a paragraph per group of options with a line for each."""
    width = min(shutil.get_terminal_size().columns, _MAX_WIDTH)
    found = list(entries(config_class))
    places = [entry for entry in found if entry.positional]
    usage = " ".join(["usage:", prog, "[OPTIONS]", *(_place(entry) for entry in places)])
    lines = [usage, "", *textwrap.wrap(inspect.getdoc(config_class) or "", width)]
    hints = get_type_hints(config_class)
    groups: dict[str, list[Entry]] = {}
    for entry in found:
        if entry.positional:
            title = "Arguments"
        elif len(entry.path) > 1:
            title = (inspect.getdoc(hints[entry.path[0]]) or "").partition("\n")[0].rstrip(".")
        else:
            title = "Other options"
        groups.setdefault(title, []).append(entry)
    for title, members in groups.items():
        lines += ["", f"{title}:"]
        for entry in members:
            label = _place(entry) if entry.positional else _label(entry)
            text = documentation(entry.owner).get(entry.path[-1], "")
            lines += _in_columns(label, text + _shown_default(entry), width)
    ends = ["-h, --help", "--print-completion SHELL"]
    texts = ["This page.", "Print what completes this command in bash, zsh or fish, and stop."]
    for label, text in zip(ends, texts, strict=True):
        lines += _in_columns(label, text, width)
    return "\n".join(lines)


def _in_columns(label: str, text: str, width: int) -> list[str]:
    indent = " " * (_LABEL_WIDTH + 4)
    wrapped = textwrap.wrap(text, max(width - len(indent), 20), break_on_hyphens=False) or [""]
    if len(label) > _LABEL_WIDTH:
        return [f"  {label}", *(indent + line for line in wrapped)]
    return [f"  {label:{_LABEL_WIDTH}}  {wrapped[0]}", *(indent + line for line in wrapped[1:])]


def _place(entry: Entry) -> str:
    several = get_origin(_bare(entry.hint)) is tuple
    return f"{entry.path[-1].upper()}{' ...' if several else ''}"


def _label(entry: Entry) -> str:
    if entry.is_flag:
        return f"--{'no-' if entry.default is True else ''}{entry.name}"
    return f"--{entry.name} {_kind(entry.hint)}"


def _kind(hint: Any) -> str:
    """Returns what stands for a value of this type: INT, {a,b}, INT|auto."""
    if get_origin(hint) is Annotated:
        named = [mark.metavar for mark in get_args(hint)[1:] if getattr(mark, "metavar", None)]
        return str(named[0]) if named else _kind(_bare(hint))
    if get_origin(hint) is Literal:
        choices = [str(choice) for choice in get_args(hint)]
        return choices[0] if len(choices) == 1 else "{" + ",".join(choices) + "}"
    if get_origin(hint) in (Union, types.UnionType):
        return "|".join(_kind(one) for one in get_args(hint) if one is not type(None))
    return _WORDS.get(hint, "VALUE")


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _shown_default(entry: Entry) -> str:
    value = entry.default
    if value is dataclasses.MISSING or value is None or isinstance(value, bool):
        return ""
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f" [{text}]"


def documentation(config_class: type[Any]) -> dict[str, str]:
    """Returns the strings under the fields of a class and of those that it inherits from."""
    texts: dict[str, str] = {}
    for one in reversed(config_class.__mro__[:-1]):
        try:
            source = inspect.getsource(one)
        except (OSError, TypeError):  # made at run time: it has no source of its own
            continue
        (tree,) = ast.parse(textwrap.dedent(source)).body
        assert isinstance(tree, ast.ClassDef)
        for field, text in zip(tree.body, tree.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                    texts[field.target.id] = " ".join(str(text.value.value).split())
    return texts


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
