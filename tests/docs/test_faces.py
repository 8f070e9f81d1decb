"""Pages and examples import what packages show in their `__init__`, not the modules inside."""

import ast
import importlib
import json
from collections.abc import Iterator

import pytest
from pages import ROOT, read_blocks

PACKAGES = ("gnnflow", "benchmarks")


def programs() -> Iterator[tuple[str, str]]:
    """Yields every program that users read, with its place."""
    for block in read_blocks():
        if block.language == "python":
            yield str(block), block.text
    for example in sorted((ROOT / "examples").glob("*.py")):
        yield example.name, example.read_text(encoding="utf-8")
    for notebook in sorted([*ROOT.glob("examples/*.ipynb"), *ROOT.glob("docs/**/*.ipynb")]):
        for number, cell in enumerate(json.loads(notebook.read_text(encoding="utf-8"))["cells"]):
            if cell["cell_type"] == "code":
                yield f"{notebook.name}, cell {number}", "".join(cell["source"])


def imported(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yields our modules that a program imports, with the names that it takes from them."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found = [(alias.name, list[str]()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, "imports are absolute"
            found = [(node.module, [alias.name for alias in node.names])]
        else:
            continue
        yield from (each for each in found if each[0].partition(".")[0] in PACKAGES)


PROGRAMS = [pytest.param(*each, id=each[0]) for each in programs()]


@pytest.mark.parametrize(("place", "text"), PROGRAMS)
def test_programs_import_from_faces(place: str, text: str) -> None:
    for module, names in imported(text):
        face = importlib.import_module(module)
        assert hasattr(face, "__path__"), f"{place} imports from {module}, which is no package"
        hidden = ", ".join(set(names) - set(face.__all__))
        assert not hidden, f"{place} takes {hidden} from {module}, whose face lacks it"
