"""What comes from outside is shown as it is: no markup, no picture words, no terminal commands.

Only `gnnflow.terminal` knows rich, whose strings are markup unless somebody says that they are not.
"""

import ast
import io
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from test_no_code_from_data import ROOT, sources

from gnnflow.cli import info, replay, report, train
from gnnflow.config import PartitionConfig
from gnnflow.datasets.raw_graph import RawGraph
from gnnflow.datasets.row_source import ArrayRows
from gnnflow.errors import DataError, GnnflowError, printable
from gnnflow.partition import partition_graph, plot
from gnnflow.policies import DecisionStatistics
from gnnflow.terminal import PlainColumn, PlainConsole, Progress, Table, progress, say
from gnnflow.training.records.summary import policy_table

HOSTILE = "[/INST] [red]r[/red] :smile: $x_{$ \x1b[2J\x9b1m\u202e</script><b>"
SHOWN = r"[/INST] [red]r[/red] :smile: $x_{$ \x1b[2J\x9b1m\u202e</script><b>"
TERMINAL = ROOT / "gnnflow" / "terminal.py"


def test_one_file_imports_rich() -> None:
    importing = set()
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(name.partition(".")[0] == "rich" for name in names):
                importing.add(path.relative_to(ROOT))
    outside_tests = {path for path in importing if path.parts[0] != "tests"}
    assert outside_tests == {TERMINAL.relative_to(ROOT)}


def test_that_file_lets_no_markup_in() -> None:
    tree = ast.parse(TERMINAL.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("from_markup", "render_markup")
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                is_off = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                assert keyword.arg not in ("markup", "emoji") or is_off, node.lineno
    exported = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    # What makes markup of strings by itself, whatever the console.
    assert not {"Console", "TextColumn", "Panel", "Status", "track", "print"} & set(exported)


@pytest.mark.parametrize("folder", ["gnnflow", "benchmarks"])
def test_status_lines_are_text(folder: str) -> None:
    """rich reads the words of `console.status` as markup, whatever the console."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        for call in re.findall(r"console\.status\(.*", path.read_text(encoding="utf-8")):
            assert call.startswith("console.status(plain("), f"{path}: {call}"


def printed(*things: object) -> str:
    console = PlainConsole(file=io.StringIO(), width=250)
    for thing in things:
        console.print(thing, soft_wrap=True)
    text = console.file.getvalue()
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text)
    return text


def test_strings_tables_and_bars() -> None:
    assert printed(HOSTILE) == SHOWN + "\n"
    table = Table(HOSTILE, title=HOSTILE, caption=HOSTILE)
    table.add_column(HOSTILE, HOSTILE)
    table.add_row(HOSTILE, HOSTILE)
    assert printed(table).count(SHOWN) == 6
    for bars in (
        progress(PlainConsole(file=io.StringIO(), width=250)),
        Progress(PlainColumn("{task.description}")),
    ):
        bars.add_task(HOSTILE)
        assert SHOWN in printed(bars.get_renderable())


def test_a_line_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    say("run[lr=0.1]/" + "x" * 300 + "/[/].json")
    assert capsys.readouterr().out == "run[lr=0.1]/" + "x" * 300 + "/[/].json\n"


def test_errors_and_names_that_are_no_text() -> None:
    assert str(DataError(f"{HOSTILE}\nsecond")) == f"{SHOWN} second"
    assert printable("a\udcff\tb\nc é 漢") == "a\\xff\tb\nc é 漢"
    assert isinstance(DataError(""), GnnflowError)


def test_what_a_model_answered() -> None:
    statistics = DecisionStatistics(points=1)
    statistics.errors[HOSTILE] = 3
    summary = {"name": HOSTILE, "mode": "sync", "ranks": 1, **statistics.summary()}
    table = policy_table(summary)
    assert printed(table).count(SHOWN) == 2


@pytest.fixture(scope="module")
def hostile_parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = np.random.default_rng(0)
    graph = RawGraph(
        name=HOSTILE,
        source=HOSTILE,
        num_vertices=60,
        edges=draw.integers(0, 60, (2, 300)),
        arrays={
            "x": ArrayRows(draw.standard_normal((60, 4), dtype=np.float32)),
            "y": ArrayRows(draw.integers(0, 3, 60)),
        },
        splits={"train": np.arange(30), "val": np.arange(30, 40), "test": np.arange(40, 60)},
        num_classes=3,
    )
    folder = tmp_path_factory.mktemp("hostile") / "parts[/]"
    config = PartitionConfig(num_parts=1, method="random")
    result = partition_graph(graph, folder, config)
    plot.plot_report(result, folder.parent / "parts.svg", title=HOSTILE)
    assert (folder.parent / "parts.svg").stat().st_size
    return folder


def test_a_graph_through_all_commands(
    hostile_parts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")

    def ask(main: object, *words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["gnnflow", *words])
        with pytest.raises(SystemExit) as ended:
            main() if main is train.main else main(list(words))
        said = capsys.readouterr()
        assert (ended.value.code, said.err) == (0, ""), said
        assert "\x1b" not in said.out and "\x9b" not in said.out
        return said.out

    out = "run[lr=0.1][/]"
    options = ["--fanout", "3,2", "--hidden", "4", "--epochs", "2", "--threads", "1"]
    options += ["--out", out, "--trace", "traces[/]", "--checkpoint-dir", "saved[/]"]
    said = ask(train.main, str(hostile_parts), *options)
    assert f"sage on {SHOWN}, 1 rank" in " ".join(said.split())
    assert said.endswith(f"{out}/summary.json\n{out}/report.html\n")
    for place in (str(hostile_parts), out, "traces[/]", "saved[/]"):
        assert SHOWN in " ".join(ask(info.main, place).split())
    said = ask(replay.main, "traces[/]", "--budgets", "10", "--plot", "plot[b].svg")
    assert SHOWN in " ".join(said.split())
    assert ask(report.main, out, "--out", "page[b].html") == "page[b].html\n"
    page = Path("page[b].html").read_text(encoding="utf-8")
    assert "</script><b>" not in page and "&lt;/script&gt;&lt;b&gt;" in page


def test_what_rich_would_have_made_of_it() -> None:
    """The names above are hostile to a console that is not told otherwise."""
    console = Console(file=io.StringIO(), width=250)
    with pytest.raises(Exception, match="closing tag"):
        console.print(HOSTILE)
