"""Examples as they are run, and the notebook's cells; node_classification.py runs in tests/mpi."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

from gnnflow.config import PartitionConfig
from gnnflow.datasets import generate
from gnnflow.launch.mpiexec import find_mpiexec, launch_environment
from gnnflow.partition import partition_graph

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOK = EXAMPLES / "cache_at_work.ipynb"

SMALLER = {
    "VERTICES, EDGES, EPOCHS = 20_000, 200_000, 10": "VERTICES, EDGES, EPOCHS = 2_000, 16_000, 2",
    "WINDOWS = [0, 1, 2, 4, 8, 16, 32]": "WINDOWS = [0, 2, 8]",
}


def test_custom_policy_on_two_ranks(tmp_path: Path) -> None:
    config = PartitionConfig(num_parts=2, method="random")
    partition_graph(generate("sbm:vertices=600,edges=4000"), tmp_path / "parts", config)
    mpiexec = find_mpiexec()
    done = subprocess.run(
        [mpiexec, "-n", "2", sys.executable, EXAMPLES / "custom_policy.py", tmp_path / "parts"],
        env=launch_environment(mpiexec),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\d+ decisions, \d+ replacements\n", done.stdout)


def test_custom_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["custom_dataset.py", "--out", str(tmp_path / "parts"), "--num-papers", "300"]
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(str(EXAMPLES / "custom_dataset.py"), run_name="__main__")
    assert "300 vertices in 2 parts" in capsys.readouterr().out


def test_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    text = "\n\n".join("".join(cell["source"]) for cell in code)
    for written, runs in SMALLER.items():
        assert written in text
        text = text.replace(written, runs)
    matplotlib.use("agg")
    names: dict[str, object] = {}
    exec(compile(text, str(NOTEBOOK), "exec"), names)
    pyplot = sys.modules["matplotlib.pyplot"]
    assert len(pyplot.get_fignums()) == 3
    pyplot.close("all")
    rows = names["rows"]
    assert isinstance(rows, list)
    volumes = {(row.scorer, row.budget_percent): row.volume_rows for row in rows}
    assert all(volumes["belady", budget] <= count for (_, budget), count in volumes.items())
    assert "rank 3: " in capsys.readouterr().out
