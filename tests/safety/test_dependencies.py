"""Licences and known vulnerabilities of what gnnflow is installed with, and the lock of CI."""

import importlib.util
import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements" / "ci.txt").read_text()
ALLOWED = ["MIT", "Apache-2.0", "BSD License", "Mozilla Public License 2.0 (MPL 2.0)"]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "requirements" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


licences, audit = script("licences"), script("audit")


@pytest.mark.parametrize(
    ("licence", "bad"),
    [
        ("MIT", []),
        ("mit", []),
        ("MIT OR GPL-3.0-only", []),
        ("(MIT OR GPL-3.0-only) AND Apache-2.0", []),
        ("MIT AND GPL-3.0-only", ["GPL-3.0-only"]),
        ("BSD License; GPL", ["GPL"]),
        ("Mozilla Public License 2.0 (MPL 2.0)", []),
        ("Mozilla Public License 2.0 (MPL 2.0); MIT", []),
        ("UNKNOWN", ["UNKNOWN"]),
        ("AGPL-3.0 OR LGPL-3.0", ["AGPL-3.0 OR LGPL-3.0"]),
    ],
)
def test_licences_of_an_expression(licence: str, bad: list[str]) -> None:
    assert licences.refused(licence, ALLOWED) == bad


def test_packages_are_named_with_what_is_wrong() -> None:
    installed = [
        {"Name": "Good", "Version": "1", "License": "MIT"},
        {"Name": "read_by_hand", "Version": "2", "License": "UNKNOWN"},
        {"Name": "nvidia_x", "Version": "3", "License": "LicenseRef-NVIDIA"},
        {"Name": "other", "Version": "4", "License": "GPL-3.0-only AND MIT"},
    ]
    known = {"read-by-hand": "MIT", "nvidia-*": "of GPUs"}
    assert licences.problems(installed, ALLOWED, known) == ["other 4: GPL-3.0-only"]


PINS = ["pip==1", "first==2", "second==3"]


def answer(pins: Sequence[str], **vulnerable: str) -> list[dict[str, Any]]:
    made = []
    for pin in pins:
        name, _, version = pin.partition("==")
        vulns = [{"id": vulnerable.get(name), "aliases": ["CVE-1"], "fix_versions": ["9"]}]
        found = vulns if name in vulnerable else []
        made.append({"name": name, "version": version, "vulns": found})
    return made


def test_what_is_vulnerable_is_named() -> None:
    def ask(pins: Sequence[str], service: str, timeout_s: float) -> list[dict[str, Any]]:
        return answer(pins, second="PYSEC-7")

    status, lines = audit.audit(PINS, {}, ask)
    assert (status, lines[0]) == (1, "second 3: PYSEC-7, mended in 9")
    assert "tool.gnnflow.audit" in lines[1]
    for name in ("PYSEC-7", "CVE-1"):
        assert audit.audit(PINS, {name: "not reached"}, ask)[0] == 0


def test_without_a_database_a_line_says_so() -> None:
    asked = []

    def ask(pins: Sequence[str], service: str, timeout_s: float) -> list[dict[str, Any]]:
        asked.append((service, len(pins)))
        if service == "pypi":
            return [{"name": "pip", "skip_reason": "not found"}]
        raise audit.UnreachableError("no route")

    status, lines = audit.audit(PINS, {}, ask)
    assert status == 0
    assert lines == [
        "audit skipped, no database of vulnerabilities can be asked "
        "(pypi: it does not know the packages; osv: no route)"
    ]
    assert asked == [("pypi", 1), ("osv", 1)]


def test_the_second_service_is_asked_where_the_first_is_silent() -> None:
    def ask(pins: Sequence[str], service: str, timeout_s: float) -> list[dict[str, Any]]:
        if service == "pypi":
            raise audit.UnreachableError("no route")
        return answer(pins)

    assert audit.audit(PINS, {}, ask) == (
        0,
        ["audit by osv: 3 of 3 packages known, none vulnerable"],
    )


def test_installed_packages_are_pinned_as_their_release() -> None:
    pins = audit.installed_pins()
    assert pins[0].startswith("pip==")
    assert not [pin for pin in pins if "+" in pin or pin.startswith("gnnflow=")]


def test_the_lock_pins_all_direct_dependencies_by_hash() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["dev"], *extras["mpich"]]
    own = re.search(r"gnnflow\[(.*)\]", extras["dev"][0])
    assert own is not None
    for name in own[1].split(","):
        wanted += extras[name]
    names = {re.split(r"[\[<>=]", one)[0].lower() for one in wanted} - {"gnnflow", "torch"}
    blocks = re.split(r"\n(?=\S)", LOCK)
    locked = {block.partition("==")[0]: block for block in blocks if "==" in block}
    assert names <= set(locked), names - set(locked)
    assert "torch" not in locked  # its CPU build is another file on each index
    assert all("--hash=sha256:" in block for block in locked.values())
    assert "://" not in LOCK
