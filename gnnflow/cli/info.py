"""`gnnflow-info`: what a partition folder, a run, a trace or a checkpoint holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from gnnflow.cli import options
from gnnflow.files.json_text import to_json_text
from gnnflow.report.description import Description, describe
from gnnflow.terminal import PlainConsole, Table

PROG = "gnnflow-info"


@dataclass(frozen=True, kw_only=True, slots=True)
class InfoConfig:
    """Describes a partition, a run, a trace or a checkpoint, or says where they are in a folder."""

    path: tyro.conf.Positional[Path]
    """What to describe."""

    json: bool = False
    """Print JSON."""


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of the command."""
    options.run(lambda: _info(args))


def _info(args: Sequence[str] | None) -> None:
    config = options.parse(InfoConfig, prog=PROG, args=args)
    description = describe(config.path)
    if config.json:
        print(_as_json(description))
    else:
        _show(description, PlainConsole())


def _as_json(description: Description) -> str:
    content = {
        "kind": description.kind,
        "path": str(description.path),
        "facts": dict(description.facts),
        "columns": list(description.columns),
        "rows": [list(row) for row in description.rows],
    }
    return to_json_text(content, indent=1)


def _show(description: Description, console: PlainConsole) -> None:
    path = description.path
    # "." and "trained/.." have no name of their own.
    shown = path if path.name not in ("", "..") else path.resolve()
    console.print(f"{description.kind} {shown}", highlight=False, soft_wrap=True)
    facts = Table(show_header=False, box=None, pad_edge=False)
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in description.facts.items():
        facts.add_row(name, _text(value))
    console.print(facts)
    if description.rows:
        table = Table()
        for name in description.columns:
            table.add_column(name, justify="right")
        for row in description.rows:
            table.add_row(*(f"{number:,}" for number in row))
        console.print(table)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return "-" if value is None else str(value)


if __name__ == "__main__":
    main()
