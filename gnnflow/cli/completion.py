"""Scripts that complete a command in a shell: its options, and the values that they can have."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from gnnflow.cli.help_page import documentation, entries

SHELLS = ("bash", "zsh", "fish")

_OPEN = frozenset((Path, str))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Flag:
    """An option as a shell sees it."""

    name: str
    """With its dashes."""
    takes: Literal["nothing", "choice", "file", "number"]
    """What comes after it."""
    choices: tuple[str, ...] = ()
    """All that can come after it, if these are few."""
    text: str = ""
    """The first sentence of what it is."""


def completion_script(shell: str, prog: str, commands: Mapping[str, type[Any]]) -> str:
    """Returns the script to be sourced.

    Args:
        shell: one of `SHELLS`.
        prog: the command.
        commands: the config class of each of its own commands; of the name "" if it has none.
    """
    flags = {name: _flags(config_class) for name, config_class in commands.items()}
    name = "_" + re.sub(r"\W", "_", prog)
    make = {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]
    return "\n".join(make(prog, name, flags))


def _flags(config_class: type[Any]) -> list[_Flag]:
    found = []
    for entry in entries(config_class):
        if entry.positional:
            continue
        about = documentation(entry.owner).get(entry.path[-1], "")
        text = re.split(r"(?<=[a-z)])[.;:,] ", about)[0].rstrip(".")
        if entry.is_flag:
            names = [f"--{entry.name}", f"--no-{entry.name}"]
            found += [_Flag(name=each, takes="nothing", text=text) for each in names]
            continue
        kinds, choices = _values(entry.hint)
        takes: Literal["choice", "file", "number"] = "number"
        if kinds & _OPEN:
            takes = "file"
        elif choices:
            takes = "choice"
        found.append(_Flag(name=f"--{entry.name}", takes=takes, choices=choices, text=text))
    found.append(_Flag(name="--help", takes="nothing", text="All options"))
    completion = "Print what completes this command in a shell"
    found.append(_Flag(name="--print-completion", takes="choice", choices=SHELLS, text=completion))
    return found


def _values(hint: Any) -> tuple[frozenset[Any], tuple[str, ...]]:
    """The types that a value may have, and the words that it may be."""
    if get_origin(hint) is Literal:
        return frozenset(), tuple(str(choice) for choice in get_args(hint))
    kinds: frozenset[Any] = frozenset([hint])
    choices: tuple[str, ...] = ()
    for part in get_args(hint):
        more_kinds, more_choices = _values(part)
        kinds, choices = kinds | more_kinds, choices + more_choices
    return kinds, choices


def _bash(prog: str, name: str, flags: Mapping[str, list[_Flag]]) -> list[str]:
    lines = [
        f"{name}() {{",
        '    local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" options',
        "    COMPREPLY=()",
        # Bash takes --name=value for three words.
        '    if [[ "$word" == "=" ]]; then word=""',
        '    elif [[ "$before" == "=" ]]; then before="${COMP_WORDS[COMP_CWORD-2]}"; fi',
    ]
    own = [command for command in flags if command]
    if own:
        words = shlex.quote(" ".join(own))
        lines.append(
            f'    if (( COMP_CWORD == 1 )); then COMPREPLY=($(compgen -W {words} -- "$word")); '
            "return; fi"
        )
    lines.append('    case "${COMP_WORDS[1]}" in')
    for command, listed in flags.items():
        lines += [f"    {command or '*'})", '        case "$before" in']
        for flag in listed:
            if flag.takes == "choice":
                words = shlex.quote(" ".join(flag.choices))
                answer = f'COMPREPLY=($(compgen -W {words} -- "$word")); return'
                lines.append(f"        {flag.name}) {answer} ;;")
        numbers = "|".join(flag.name for flag in listed if flag.takes == "number")
        files = "|".join(flag.name for flag in listed if flag.takes == "file")
        if numbers:
            lines.append(f"        {numbers}) compopt +o default +o bashdefault; return ;;")
        if files:
            lines.append(f"        {files}) return ;;")
        lines += ["        esac", f"        options='{' '.join(flag.name for flag in listed)}' ;;"]
    lines += [
        "    esac",
        '    if [[ "$word" == -* ]]; then COMPREPLY=($(compgen -W "$options" -- "$word")); fi',
        "}",
        f"complete -o bashdefault -o default -F {name} {prog}",
    ]
    return lines


def _zsh(prog: str, name: str, flags: Mapping[str, list[_Flag]]) -> list[str]:
    lines = [f"#compdef {prog}", "", f"{name}() {{"]
    own = [command for command in flags if command]
    if own:
        lines.append(f"    if (( CURRENT == 2 )); then compadd -- {' '.join(own)}; return; fi")
    lines.append("    case $words[2] in")
    for command, listed in flags.items():
        lines.append(f"    {command or '*'}) _arguments \\")
        for flag in listed:
            text = re.sub(r"([\[\]\\:])", r"\\\1", flag.text)
            value = {
                "nothing": "",
                "choice": f":value:({' '.join(flag.choices)})",
                "file": ":file:_files",
                "number": ":number: ",
            }[flag.takes]
            equals = "" if flag.takes == "nothing" else "="
            lines.append(f"        {shlex.quote(f'{flag.name}{equals}[{text}]{value}')} \\")
        lines.append("        '*:file:_files' ;;")
    lines += [
        "    esac",
        "}",
        # Found in a folder of completions, this file is the function; sourced, it registers it.
        f'if [ "$funcstack[1]" = "{name}" ]; then {name} "$@"; else compdef {name} {prog}; fi',
    ]
    return lines


def _fish(prog: str, name: str, flags: Mapping[str, list[_Flag]]) -> list[str]:
    own = [command for command in flags if command]
    lines = [f"complete -c {prog} -n __fish_use_subcommand -f -a {shlex.quote(' '.join(own))}"]
    lines = lines if own else []
    for command, listed in flags.items():
        when = f" -n '__fish_seen_subcommand_from {command}'" if command else ""
        for flag in listed:
            value = {
                "nothing": "",
                "choice": f" -x -a {shlex.quote(' '.join(flag.choices))}",
                "file": " -r -F",
                "number": " -x",
            }[flag.takes]
            text = flag.text.replace("\\", "\\\\").replace("'", "\\'")
            lines.append(f"complete -c {prog}{when} -l {flag.name[2:]}{value} -d '{text}'")
    return lines
