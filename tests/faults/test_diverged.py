"""A loss that is NaN on one rank: the job ends with its place, or goes on and says so."""

import json
from pathlib import Path

from jobs import run_faulty, run_job, train

from gnnflow.training.checkpoints.checkpoint_files import checkpoint_folders, read_files

OPTIONS = ["--fanout", "3,2", "--hidden", 64, "--epochs", 4, "--threads", 1, "--batch-size", 10]
OPTIONS += ["--transport", "alltoall", "--ranks", 2]


def strict(text: str) -> dict[str, object]:
    """What a parser makes of it that knows no NaN."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_job_ends_and_the_checkpoint_before_goes_on(parts: Path, tmp_path: Path) -> None:
    words = [parts, *OPTIONS, "--out", tmp_path / "run", "--checkpoint-dir", tmp_path / "saved"]
    ended = run_faulty("nan", 1, 2, 1, *words)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    start = "gnnflow-train: error on rank 1: the loss is NaN or infinite at step 2 of epoch 3; "
    assert line.startswith(start), line
    assert "--on-nan warn goes on" in line
    for folder in checkpoint_folders(tmp_path / "saved"):
        read_files(folder)
    left = {path.name for path in tmp_path.rglob(".*")}
    assert left <= {".lock"}, "a lock file of a process that was ended holds nothing"
    resumed = train(*words, "--resume", "auto")
    assert "going on after 2 epochs and 0 steps" in resumed.stdout


def test_a_warning_once_and_files_that_are_json(parts: Path, tmp_path: Path) -> None:
    words = [parts, *OPTIONS, "--out", tmp_path / "run", "--checkpoint-dir", tmp_path / "saved"]
    ended = run_faulty("nan", 1, 2, 0, *words, "--on-nan", "warn")
    assert ended.returncode == 0, ended.stderr
    first, second = ended.stderr.splitlines()
    assert "WARNING rank 0" in first and "the loss of rank 0 is nan at step 2 of epoch 3" in first
    assert second.endswith("the first such loss of epoch 3 was on rank 1, at step 1")
    assert "Losses that were NaN or infinite" in ended.stdout
    summary = strict((tmp_path / "run" / "summary.json").read_text())
    losses = [epoch["loss"] for epoch in summary["epochs"]]
    assert [loss is None for loss in losses] == [False, False, True, True]
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    lines = [strict(line) for line in lines]
    bad = [(line["epoch"], line["step"], line["rank"]) for line in lines if line["loss"] is None]
    assert bad[0] == (2, 0, 1) and (2, 0, 0) not in bad
    assert summary["nan_losses"] == len(bad)
    assert (tmp_path / "run" / "report.html").is_file()
    newest = checkpoint_folders(tmp_path / "saved")[0]
    assert newest.name == "epoch-0002-step-000000"


def test_a_run_folder_that_is_gone_costs_the_records_alone(parts: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    ended = run_faulty("no folder", 0, 3, 0, parts, *OPTIONS, "--out", out)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith(
        "gnnflow-train: error: the run is over, but not all of it is recorded: cannot write "
        f"{out / 'optimum.json'}: No such file or directory; choose another place (and 1 more)"
    ), line
    assert "Test accuracy" in ended.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_job_in_the_folder_of_another_is_refused(parts: Path, tmp_path: Path) -> None:
    hold = (
        "import subprocess, sys; from pathlib import Path; "
        "from gnnflow.files.folder_lock import FolderLock; "
        "held = FolderLock(Path(sys.argv[1]), '--checkpoint-dir'); "
        "sys.exit(subprocess.run([sys.executable, *sys.argv[2:]]).returncode)"
    )
    saved = tmp_path / "saved"
    words = [parts, *OPTIONS, "--out", tmp_path / "run", "--checkpoint-dir", saved]
    ended = run_job(["-c", hold, saved, "-m", "gnnflow.cli.train", *words])
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert f"{saved} is in use by another job (process " in line
    assert line.endswith("or choose another --checkpoint-dir")
    assert list(tmp_path.iterdir()) == []
