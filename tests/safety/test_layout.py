"""The house rules that no linter knows: sizes, names that stand once, what bindings hold."""

import ast
import collections
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
MIRRORS = ("gnnflow/cli/", "gnnflow/config/")
"""Packages whose modules are named after what they serve."""
MOST_LINES = 400


def modules() -> Iterator[Path]:
    for package in ("gnnflow", "partition"):
        for path in sorted((ROOT / package).rglob("*.py")):
            relative = path.relative_to(ROOT)
            if not str(relative).startswith("gnnflow/partition/"):
                yield relative


def standing_twice(places: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: where for name, where in places.items() if len(where) > 1}


def test_no_module_is_too_long():
    lines = {str(path): len((ROOT / path).read_text().splitlines()) for path in modules()}
    assert len(lines) > 100
    assert {path: number for path, number in lines.items() if number > MOST_LINES} == {}


def test_no_two_modules_share_a_name():
    places = collections.defaultdict(list)
    for path in modules():
        if path.name != "__init__.py" and not str(path).startswith(MIRRORS):
            places[path.stem].append(str(path))
    assert standing_twice(places) == {}


def test_no_two_classes_share_a_name():
    places = collections.defaultdict(list)
    for path in modules():
        for node in ast.parse((ROOT / path).read_text()).body:
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].append(str(path))
    assert standing_twice(places) == {}


def test_array_types_have_their_names_once():
    places = collections.defaultdict(list)
    for path in modules():
        for node in ast.parse((ROOT / path).read_text()).body:
            if isinstance(node, ast.Assign) and "NDArray[" in ast.unparse(node.value)[:12]:
                assert isinstance(node.targets[0], ast.Name)
                places[node.targets[0].id.lstrip("_")].append(str(path))
    assert standing_twice(places) == {}


def test_pybind_stays_in_the_bindings():
    users = [path.name for path in (ROOT / "kernels").iterdir() if "pybind" in path.read_text()]
    assert users != []
    assert [name for name in users if not name.startswith("bind_")] == []


def test_no_algorithm_stands_in_the_bindings():
    """Loops belong to files that C++ can use; headers of bindings may go over argument lists."""
    loop = re.compile(r"\b(for|while)\s*\(|\bdo\s*\{|\bstd::(for_each|transform|accumulate)\b")
    bindings = sorted((ROOT / "kernels").glob("bind_*.cpp"))
    assert bindings != []
    for path in bindings:
        lines = enumerate(path.read_text().splitlines(), 1)
        assert [(path.name, number, line) for number, line in lines if loop.search(line)] == []
