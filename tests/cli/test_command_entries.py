"""The entry points that are installed."""

import importlib
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gnnflow.cli import commands

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))


def test_every_command_has_its_module():
    for command, entry in PROJECT["project"]["scripts"].items():
        module, _, name = entry.partition(":")
        assert command == f"gnnflow-{name}"
        assert callable(getattr(importlib.import_module(module), name))
        assert callable(importlib.import_module(f"gnnflow.cli.{name}").main)


def test_an_interrupt_while_a_command_is_imported(monkeypatch, capsys):
    def interrupt(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "import_module", interrupt)
    monkeypatch.setattr(sys, "argv", ["/bin/gnnflow-train"])
    with pytest.raises(SystemExit) as ended:
        commands.train()
    assert ended.value.code == 130
    monkeypatch.setenv("PMI_RANK", "1")
    with pytest.raises(SystemExit):
        commands.train()
    assert capsys.readouterr().err == "gnnflow-train: error: interrupted\n"


def test_a_closed_stdout_is_no_place_for_the_next_file(tmp_path):
    """What is printed must not land in a file that takes the number of the closed stream."""
    program = (
        "import os\n"
        "from gnnflow.cli import options\n"
        "def main():\n"
        "    opened = os.open('file', os.O_WRONLY | os.O_CREAT)\n"
        "    print('printed', flush=True)\n"
        "    os.write(1, b'written')\n"
        "options.run(main)\n"
    )
    ended = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (tmp_path / "file").read_bytes() == b""
