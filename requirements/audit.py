"""Looks up known vulnerabilities of the installed packages: `make audit`.

The database is asked over the network by pip-audit. Where it cannot be reached, or knows none of
the packages (a mirror of an index without it), one line says so, and that is no failure.
Vulnerabilities that do not concern gnnflow stand in `pyproject.toml`, `[tool.gnnflow.audit]`.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
SERVICES = ("pypi", "osv")
CONNECT_TIMEOUT_S = 3
PROBE_TIMEOUT_S = 10
TIMEOUT_S = 180

Ask = Callable[[Sequence[str], str, float], list[dict[str, Any]]]


class UnreachableError(Exception):
    """A service that gave no answer, and why."""


def ask_pip_audit(pins: Sequence[str], service: str, timeout_s: float) -> list[dict[str, Any]]:
    """Returns what pip-audit finds out about `name==version` pins.

    Raises:
        UnreachableError: The service gives no answer.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(pins) + "\n")
        file.flush()
        command = [sys.executable, "-m", "pip_audit", "--requirement", file.name, "--no-deps"]
        command += ["--disable-pip", "--vulnerability-service", service, "--format", "json"]
        command += ["--progress-spinner", "off", "--timeout", str(CONNECT_TIMEOUT_S)]
        try:
            ended = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=timeout_s
            )
        except subprocess.TimeoutExpired:
            raise UnreachableError(f"no answer within {timeout_s:.0f} s") from None
    try:
        found: list[dict[str, Any]] = json.loads(ended.stdout)["dependencies"]
    except (ValueError, LookupError):
        said = ended.stderr.strip().splitlines() or ["pip-audit said nothing"]
        raise UnreachableError(said[-1][:160].partition("(Caused by")[0].strip()) from None
    return found


def audit(
    pins: Sequence[str], ignored: Mapping[str, str], ask: Ask = ask_pip_audit
) -> tuple[int, list[str]]:
    """Audits packages with the first service that answers.

    Args:
        pins: `name==version` of each.
        ignored: Vulnerabilities that are known and do not matter, and why.
        ask: Asks a service.

    Returns:
        The exit status and the lines to print.
    """
    reasons = []
    for service in SERVICES:
        try:
            # One package tells whether the service is there, before all are asked for.
            if not _known(ask(pins[:1], service, PROBE_TIMEOUT_S)):
                raise UnreachableError("it does not know the packages")
            answers = ask(pins, service, TIMEOUT_S)
        except UnreachableError as error:
            reasons.append(f"{service}: {error}")
            continue
        return _judge(answers, ignored, service)
    return 0, [f"audit skipped, no database of vulnerabilities can be asked ({'; '.join(reasons)})"]


def _judge(
    answers: Sequence[Mapping[str, Any]], ignored: Mapping[str, str], service: str
) -> tuple[int, list[str]]:
    lines = []
    for package in answers:
        for found in package.get("vulns", []):
            names = {found["id"], *found.get("aliases", [])}
            if not names & set(ignored):
                fixed = ", ".join(found.get("fix_versions", [])) or "no release"
                lines.append(
                    f"{package['name']} {package['version']}: {found['id']}, mended in {fixed}"
                )
    if lines:
        hint = "upgrade, or say in [tool.gnnflow.audit] of pyproject.toml why it does not matter"
        return 1, [*lines, hint]
    known = len(_known(answers))
    return 0, [f"audit by {service}: {known} of {len(answers)} packages known, none vulnerable"]


def _known(answers: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [package for package in answers if "skip_reason" not in package]


def installed_pins() -> list[str]:
    """Returns `name==version` of what is installed, pip first; builds of a release are its own."""
    versions = {
        str(package.metadata["Name"]).lower(): package.version.partition("+")[0]
        for package in metadata.distributions()
    }
    versions.pop("gnnflow", None)
    names = sorted(versions, key=lambda name: (name != "pip", name))
    return [f"{name}=={versions[name]}" for name in names]


def main() -> int:
    """Audits the packages of this Python; 1 if one is vulnerable."""
    tool = tomllib.loads(PYPROJECT.read_text("utf-8"))["tool"]["gnnflow"]
    status, lines = audit(installed_pins(), tool["audit"]["ignore"])
    print("\n".join(lines))
    return status


if __name__ == "__main__":
    raise SystemExit(main())
