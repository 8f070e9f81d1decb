"""What README, CONTRIBUTING and docs/ show must work: every command parses, every program compiles.

Blocks marked `<!-- test: run -->` run end to end, made smaller by `SMALLER`.
"""

import ast
import contextlib
import importlib
import importlib.util
import io
import os
import re
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pages import PAGES, ROOT, Block, commands_of, inline_commands, read_blocks, split_commands

from gnnflow.config import PartitionConfig
from gnnflow.datasets import from_distdgl, generate
from gnnflow.launch.mpiexec import find_mpiexec, launch_environment
from gnnflow.partition import partition_graph

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SCRIPTS: dict[str, str] = PYPROJECT["project"]["scripts"]
BLOCKS = read_blocks()
SHELL = [block for block in BLOCKS if block.language in ("bash", "console")]
PYTHON = [block for block in BLOCKS if block.language == "python"]

SMALLER = {
    "--dataset debian-packages": "--generate sbm:vertices=400,edges=4000",
    "--num-parts 4": "--num-parts 2",
    "--ranks 4": "--ranks 2",
    "--epochs 10": "--epochs 1",
    "range(10)": "range(2)",
}
"""What is written in the pages, and what runs here."""

NOT_OURS = {
    "cd": "of the shell",
    "export": "of the shell",
    "git": "not ours",
    "module": "of a cluster",
    "pip": "extras are checked below",
    "pre-commit": "a development tool",
    "sbatch": "of a cluster; deploy/ has tests of its own",
    "apptainer": "deploy/ has tests of its own",
    "docker": "deploy/ has tests of its own",
}
"""Programs whose arguments are not checked, and why."""


def marked(blocks: list[Block], *markers: str) -> list[Block]:
    return [block for block in blocks if block.marker in markers]


def call(words: list[str], *more: str) -> tuple[int, str]:
    """Calls a gnnflow command in this process; returns exit code and output."""
    module, _, function = SCRIPTS[words[0]].partition(":")
    kept = sys.argv
    sys.argv = [*words, *more]
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            getattr(importlib.import_module(module), function)()
    except SystemExit as ended:
        return int(ended.code or 0), said.getvalue()
    finally:
        sys.argv = kept
    return 0, said.getvalue()


def check_command(words: list[str]) -> None:
    program = words[0]
    if program in SCRIPTS:
        if {"--help", "-h"} & set(words):
            assert call(words)[0] == 0
            return
        code, said = call(words, "--print-config")
        assert code == 0, said
        assert isinstance(yaml.safe_load(said), dict | None)
    elif program == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
        assert {word for word in words[1:] if "=" not in word} <= targets, words
    elif program in ("python", "python3"):
        check_python(words[1:])
    else:
        assert program in NOT_OURS, f"{words} is not known: run it, check it, or name it here"


def check_python(words: list[str]) -> None:
    """Checks that a module or program is there and knows the options."""
    if words[0] == "-m":
        name = words[1]
        if name == "pytest":
            return
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.origin is not None, name
        sources = [Path(spec.origin)]
        if name.startswith("benchmarks."):
            sources.append(ROOT / "benchmarks" / "_harness.py")
        words = words[2:]
    else:
        program = ROOT / words[0]
        shown = [block for block in PYTHON if block.marker == "run"]
        if not program.exists() and "/" not in words[0]:
            assert shown, f"no program stands for {words[0]}"
            return
        sources = [program]
        words = words[1:]
    known = "".join(source.read_text() for source in sources)
    for word in words:
        if word.startswith("--"):
            assert f'"{word.partition("=")[0]}"' in known, f"{sources[0]} does not know {word}"


@pytest.mark.parametrize("block", marked(SHELL, "", "run"), ids=str)
def test_commands_parse(block: Block, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("")
    monkeypatch.chdir(tmp_path)
    for words in commands_of(block):
        check_command(words)


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.name)
def test_commands_of_examples_parse(example: Path) -> None:
    text = ast.get_docstring(ast.parse(example.read_text())) or ""
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    shown = [words for line in lines for words in split_commands(line)]
    ours = [words for words in shown if words[0] in SCRIPTS or words[0] == "python"]
    assert any(words[1:2] == [f"examples/{example.name}"] for words in ours)
    for words in ours:
        check_command(words)


def test_every_block_that_is_left_out_says_why() -> None:
    for block in BLOCKS:
        assert block.marker in ("", "run", "compile", "skip"), block
        assert block.marker not in ("compile", "skip") or block.reason, block


def options_of(words: list[str]) -> set[str]:
    subcommand = words[1:2] if words[0] == "gnnflow-policy" and len(words) > 1 else []
    code, said = call([words[0], *subcommand], "--help")
    assert code == 0, said
    return set(re.findall(r"--[a-z][a-z-]*", said))


def test_options_in_the_text_exist() -> None:
    known: dict[tuple[str, ...], set[str]] = {}
    for page, text in inline_commands():
        for words in split_commands(text.replace("...", "")):
            if words[0] not in SCRIPTS:
                continue
            key = tuple(words[:2]) if words[0] == "gnnflow-policy" else (words[0],)
            if key not in known:
                known[key] = options_of(list(key))
            given = {word.partition("=")[0] for word in words if word.startswith("--")}
            assert given <= known[key], f"{page}: {text}"


def test_extras_in_the_text_exist() -> None:
    extras = set(PYPROJECT["project"]["optional-dependencies"])
    for page in PAGES:
        for names in re.findall(r"gnnflow\[([a-z,]+)\]", page.read_text()):
            assert set(names.split(",")) <= extras, page


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]*)(?:#[^)]*)?\)", page.read_text()):
            if target and "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_anchors_exist() -> None:
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#\s:]*)#([^)]*)\)", page.read_text()):
            text = (page.parent / target if target else page).read_text()
            headings = re.findall(r"^#+ (.+)$", text, flags=re.M)
            slugs = {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in headings}
            assert anchor in slugs, f"{page.name} links to {target}#{anchor}"


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_programs_compile_and_import_what_exists(block: Block) -> None:
    tree = ast.parse(block.text, str(block))
    if block.marker == "compile":
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"


def smaller(text: str) -> str:
    for written, runs in SMALLER.items():
        text = text.replace(written, runs)
    return text


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield tmp_path


def run_program(text: str) -> None:
    exec(compile(smaller(text), "program", "exec"), {"__name__": "__main__"})


def run_shell(block: Block) -> str:
    """Runs the gnnflow commands of a block, one after the other."""
    said = ""
    for words in split_commands(smaller(block.text).replace("\\\n", " ").replace("\n", ";")):
        module, _, function = SCRIPTS[words[0]].partition(":")
        start = f"import sys; sys.argv[0] = {words[0]!r}; from {module} import {function} as f; f()"
        done = subprocess.run(
            [sys.executable, "-c", start, *words[1:]],
            capture_output=True,
            text=True,
            env=os.environ | {"COLUMNS": "120"},
        )
        assert done.returncode == 0, done.stderr
        said += done.stdout
    return said


def runnable(page: str, language: str) -> list[Block]:
    blocks = [block for block in marked(BLOCKS, "run") if block.page == page]
    return [block for block in blocks if block.language == language]


def test_every_marked_block_has_a_test() -> None:
    pages = {block.page for block in marked(BLOCKS, "run")}
    assert pages == {"README.md", "docs/first-hop.md", "docs/from-distdgl.md", "docs/from-pyg.md"}


def test_first_hop(folder: Path) -> None:
    config = PartitionConfig(num_parts=1)
    partition_graph(generate("sbm:vertices=300,edges=2000"), "parts", config)
    (program,) = runnable("docs/first-hop.md", "python")
    run_program(program.text)
    assert (folder / "parts/part-00000/first_hop_mean.npy").exists()


def test_readme(folder: Path) -> None:
    (commands,) = runnable("README.md", "bash")
    said = run_shell(commands)
    assert "2 parts by metis" in said
    assert "Test accuracy" in said
    partition_graph(
        generate("sbm:vertices=300,edges=2000"),
        "parts",
        PartitionConfig(num_parts=1),
        overwrite=True,
    )
    (program,) = runnable("README.md", "python")
    run_program(program.text)


def test_from_pyg(folder: Path) -> None:
    for program in runnable("docs/from-pyg.md", "python"):
        run_program(program.text)


def test_from_distdgl_on_two_ranks(folder: Path) -> None:
    """The parts that DGL cut, one for each of two ranks."""
    with tarfile.open(ROOT / "tests" / "datasets" / "peer_folders.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    graph = from_distdgl(folder / "dgl-csc" / "graph.json")
    assert partition_graph(graph, "products", PartitionConfig()).method == "keep"
    (program,) = runnable("docs/from-distdgl.md", "python")
    Path("train.py").write_text(smaller(program.text))
    mpiexec = find_mpiexec()
    done = subprocess.run(
        [mpiexec, "-n", "2", sys.executable, "train.py"],
        capture_output=True,
        text=True,
        env=launch_environment(mpiexec),
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"test accuracy 0\.\d{4}\n", done.stdout)
