"""Usage errors on one line, the help page, and completion in a shell."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from gnnflow.cli import options, partition, policy
from gnnflow.cli.help_page import entries
from gnnflow.cli.partition import PartitionCommandConfig
from gnnflow.config import CacheConfig, TrainConfig
from gnnflow.errors import ConfigError
from gnnflow.policies import make_policy


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        options.parse(TrainConfig, prog="gnnflow-train", args=words)
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    end = " (gnnflow-train --help lists the options)\n"
    assert captured.err.startswith("gnnflow-train: ") and captured.err.endswith(end)
    return captured.err.removeprefix("gnnflow-train: ").removesuffix(end)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dropout", "3"], "dropout must be in [0, 1), got 3.0"),
        (["--ranks", "0"], "ranks must be at least 1, got 0"),
        (["--cache-fraction=2"], "cache_fraction must be in [0, 1], got 2.0"),
        (["--epochs", "x"], "--epochs takes a whole number, got 'x'"),
        (["--lr", "fast"], "--lr takes a number, got 'fast'"),
        (["--lookahead", "x"], "--lookahead takes INT or auto, got 'x'"),
        (["--fanout", "1,b"], "--fanout: expected whole numbers with commas between, as 10,25"),
        (["--model", "sag"], "--model must be one of sage, gat, gcn, gin"),
        (["--model", "sag"], "got 'sag'; did you mean 'sage'?"),
        (["--epoch", "3"], "there is no option --epoch; did you mean '--epochs'?"),
        (["--batch_sise=3"], "there is no option --batch-sise; did you mean '--batch-size'?"),
        (["--frobnicate"], "there is no option --frobnicate"),
        (["--no-hidden"], "there is no option --no-hidden"),
        (["--epochs"], "--epochs"),
        (["more"], "more"),
        (["--print-completion", "csh"], "--print-completion must be one of bash, zsh, fish; got"),
    ],
)
def test_one_line(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert message in refused(capsys, "parts", *words)


def test_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys)
    assert said == "error: PATH is missing: Partition folder, as written by gnnflow-partition."


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_one_line_from_the_command(tmp_path: Path, encoding: str) -> None:
    """The number of parts, as typed; in any encoding of the terminal."""
    code = "from gnnflow.cli.partition import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--num-parts", "0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"PATH": "", "PYTHONIOENCODING": encoding, "PYTHONPATH": ":".join(sys.path)},
    )
    assert done.returncode == 2
    assert done.stderr == (
        "gnnflow-partition: error: num_parts must be at least 1, got 0 "
        "(gnnflow-partition --help lists the options)\n"
    )


def test_values_of_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("dropout: 3\n")
    said = refused(capsys, "parts", "--config", str(path))
    assert said == f"{path}: error: dropout must be in [0, 1), got 3.0"
    path.write_text("drop-out: 3\n")
    with pytest.raises(ConfigError, match="unknown option 'drop-out'; did you mean 'dropout'"):
        options.parse(TrainConfig, prog="gnnflow-train", args=["--config", str(path)])


def test_names_that_are_nearly_right() -> None:
    from gnnflow.config import PolicyConfig
    from gnnflow.datasets import load
    from gnnflow.policies import RankInfo

    with pytest.raises(ConfigError, match="did you mean 'static'"):
        make_policy(PolicyConfig(policy="statc"), RankInfo())
    with pytest.raises(ValueError, match="did you mean 'ogbn-arxiv'"):
        load("ogbn-arxv")


def test_help_has_every_option_its_text_and_default(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        options.parse(TrainConfig, prog="gnnflow-train", args=["--help"])
    assert ended.value.code == 0
    page = capsys.readouterr().out
    assert page.startswith("usage: gnnflow-train [OPTIONS] PARTS\n")
    assert "  --hidden INT                Width of the hidden layers. [256]\n" in page
    assert "  --fanout INT,INT,...  " in page and "[10,25]" in page
    assert "  --model {sage,gat,gcn,gin" in page
    assert "  --verify  " in page and "--no-verify" not in page
    assert "How minibatches are made:\n" in page
    assert max(map(len, page.splitlines())) <= 80
    shown = {line.split()[0] for line in page.splitlines() if line.startswith("  --")}
    with pytest.raises(SystemExit):
        options.parse(TrainConfig, prog="gnnflow-train", args=["parts", "--print-config"])
    names = {line.partition(":")[0] for line in capsys.readouterr().out.splitlines()}
    assert {f"--{name}" for name in names - {"parts"}} <= shown
    with pytest.raises(SystemExit):
        options.parse(PartitionCommandConfig, prog=partition.PROG, args=["-h"])
    page = capsys.readouterr().out
    assert "--num-parts INT  " in page
    assert "None" not in page


def completed(script: Path, *words: str) -> list[str]:
    """What bash offers for the last word."""
    line = " ".join(f"'{word}'" for word in words)
    ask = f"""
        compopt() {{ :; }}  # knows only of completions under way
        source {script}
        COMP_WORDS=({line}) COMP_CWORD={len(words) - 1}
        "$(complete -p {words[0]} | sed 's/.*-F \\([^ ]*\\).*/\\1/')"
        printf '%s\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


def script_of(main: Callable[[], object], path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    path.write_text(capsys.readouterr().out)
    return path


def test_completion_in_bash(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["--print-completion", "bash"]
    script = script_of(
        lambda: options.parse(TrainConfig, prog="gnnflow-train", args=words), tmp_path / "s", capsys
    )
    train = ("gnnflow-train", "parts")
    assert completed(script, *train, "--sco") == ["--scorer"]
    assert completed(script, *train, "--batch-s") == ["--batch-size"]
    assert completed(script, *train, "--scorer", "l") == ["lookahead", "lru"]
    assert completed(script, *train, "--scorer", "=", "de") == ["decay"]
    assert completed(script, *train, "--scorer", "=") == [*get_args(scorers())]
    assert completed(script, *train, "--no-ver") == ["--no-verify"]
    assert completed(script, *train, "--lr", "") == [""]
    offered = completed(script, *train, "--")
    assert all(re.fullmatch(r"--[a-z-]+", word) for word in offered)
    assert {f"--{entry.name}" for entry in entries(TrainConfig)} - set(offered) == {"--parts"}


def scorers() -> object:
    return get_type_hints(CacheConfig)["scorer"]


def test_completion_of_commands_with_commands(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    script = script_of(lambda: policy.main(["--print-completion", "bash"]), tmp_path / "s", capsys)
    assert completed(script, "gnnflow-policy", "f") == ["fit"]
    assert completed(script, "gnnflow-policy", "fit", "--ki") == ["--kind"]
    assert completed(script, "gnnflow-policy", "collect", "--ki") == [""]


def test_completion_in_other_shells(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def script(shell: str) -> str:
        words = ["--print-completion", shell]
        return script_of(
            lambda: options.parse(TrainConfig, prog="gnnflow-train", args=words),
            tmp_path / shell,
            capsys,
        ).read_text()

    zsh = script("zsh")
    assert zsh.startswith("#compdef gnnflow-train\n")
    assert "'--device=[Where the network runs]:value:(cpu cuda auto)' \\\n" in zsh
    fish = script("fish").splitlines()
    assert "complete -c gnnflow-train -l device -x -a 'cpu cuda auto' -d " in "\n".join(fish)
    assert all(re.match(r"complete -c gnnflow-train -l [a-z-]+ ", line) for line in fish)


def test_a_page_that_nobody_reads_on() -> None:
    code = "from gnnflow.cli.partition import main; main()"
    shell = f"{sys.executable} -c '{code}' --help | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout in ("0\n", "141\n")  # 0 if the page was in the pipe before it closed
