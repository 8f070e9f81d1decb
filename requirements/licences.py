"""Checks that every installed package may be used: `make licences`.

What is allowed stands in `pyproject.toml`, `[tool.gnnflow.licences]`: `allow` lists licences,
`packages` names packages whose metadata does not say enough, and what was found by reading.
"""

import fnmatch
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def refused(licence: str, allowed: Iterable[str]) -> list[str]:
    """Returns the licences of an expression that are not allowed and cannot be chosen away.

    Args:
        licence: As metadata gives it: `MIT`, `MIT OR GPL-3.0`, `Apache-2.0 AND MIT`, or names
            with semicolons between, all of which hold.
        allowed: Licences that are, in any case of letters.
    """
    known = {each.lower() for each in allowed}
    missing = []
    for part in re.split(r"\s+AND\s+|\s*;\s*", licence.replace("(", " ( ")):
        choices = [_plain(each) for each in re.split(r"\s+OR\s+", part)]
        if not any(each.lower() in known for each in choices):
            missing.append(" OR ".join(choices))
    return missing


def _plain(licence: str) -> str:
    """Takes off brackets that group, and leaves those that belong to a name: `X (Y)`."""
    text = " ".join(licence.split()).replace("( ", "(")
    text = text.removeprefix("(") if text.count("(") > text.count(")") else text
    text = text.removesuffix(")") if text.count(")") > text.count("(") else text
    return text.strip()


def problems(
    installed: Iterable[Mapping[str, str]], allowed: Iterable[str], known: Mapping[str, str]
) -> list[str]:
    """Returns a line for each package that may not be used.

    Args:
        installed: `Name`, `Version` and `License` of each.
        allowed: Licences that are.
        known: Packages, or patterns of names, that were read by hand.
    """
    lines = []
    for package in installed:
        name = package["Name"].lower().replace("_", "-")
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in known):
            continue
        bad = refused(package["License"], allowed)
        if bad:
            lines.append(f"{name} {package['Version']}: {', '.join(bad)}")
    return lines


def main() -> int:
    """Checks the packages of this Python; 1 if one may not be used."""
    rules = tomllib.loads(PYPROJECT.read_text("utf-8"))["tool"]["gnnflow"]["licences"]
    command = [sys.executable, "-m", "piplicenses", "--format=json", "--from=mixed"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)
    installed = json.loads(listed.stdout)
    lines = problems(installed, rules["allow"], rules["packages"])
    for line in lines:
        print(f"licence not allowed: {line}")
    if lines:
        print("use another package, or add to [tool.gnnflow.licences] in pyproject.toml")
    else:
        print(f"licences of {len(installed)} packages: all allowed")
    return int(bool(lines))


if __name__ == "__main__":
    raise SystemExit(main())
