import json

import numpy as np
import pytest

from gnnflow.cli import policy
from gnnflow.policies.classifier import fitting
from gnnflow.policies.labelled_situations import read_situations
from gnnflow.policies.rivals import RIVALS
from gnnflow.replay import TraceFacts, TraceRecorder, read_traces


def run(*words):
    """Runs the command; returns its exit code."""
    with pytest.raises(SystemExit) as end:
        policy.main([str(word) for word in words])
    return end.value.code


@pytest.fixture
def traces(tmp_path):
    """Traces of two ranks whose favourite rows change half way."""
    for rank in range(2):
        facts = TraceFacts(graph="made up", rank=rank, num_ranks=2, row_bytes=64)
        recorder = TraceRecorder(facts, np.arange(200), np.ones(200, dtype=np.int64))
        rng = np.random.default_rng(rank)
        for minibatch in range(60):
            favourites = np.arange(40) + (100 if minibatch >= 30 else 0)
            others = rng.choice(200, 10, replace=False)
            used = rng.random(40) < 0.6
            recorder.add(np.union1d(favourites[used], others))
        recorder.save(tmp_path / "traces")
    assert len(read_traces(tmp_path / "traces")) == 2
    return tmp_path / "traces"


def test_from_traces_to_a_classifier(traces, tmp_path, capsys):
    pytest.importorskip("skops")
    out = tmp_path / "situations.jsonl"
    words = ("--budgets", "0.1,0.3", "--stale-after", "4", "--horizon", "8", "--out", out)
    assert run("collect", traces, *words) == 0
    situations = read_situations(out)
    assert f"{len(situations)} situations in {out}" in capsys.readouterr().out
    assert {item.group for item in situations} == {"traces/0.1/4", "traces/0.3/4"}
    assert {item.replace for item in situations} == {True, False}
    folder = tmp_path / "lr"
    assert run("fit", out, "--kind", "lr", "--out", folder) == 0
    printed = capsys.readouterr().out
    names = ("accuracy", "precision", "recall", "calibration_error", "majority_accuracy")
    for name in (*names, *RIVALS, "one threshold: "):
        assert name in printed
    assert set(RIVALS) < json.loads((folder / "classifier.json").read_text())["measures"].keys()
    assert (folder / "classifier.json").is_file()
    assert run("fit", out, "--kind", "lr", "--out", folder) == 1
    assert "exists; name another folder" in capsys.readouterr().err


def test_the_policies_are_listed(capsys):
    assert run("list") == 0
    *lines, classifiers = capsys.readouterr().out.splitlines()
    about = dict(line.split(maxsplit=1) for line in lines)
    assert {"none", "static", "bandit", "llm", "auto", "classifier"} <= about.keys()
    assert about["none"].startswith("no cache: ")
    assert classifiers.startswith("classifiers that come with gnnflow: ")


@pytest.mark.parametrize(("right", "warns"), [(0.7, True), (0.8, True), (0.9, False)])
def test_a_classifier_that_is_no_better_than_one_answer_is_told(
    traces, tmp_path, capsys, monkeypatch, right, warns
):
    out = tmp_path / "situations.jsonl"
    assert run("collect", traces, "--out", out, "--budgets", "0.1,0.3", "--stale-after", "4") == 0
    measures = {"accuracy": right, "majority_accuracy": 0.8}
    monkeypatch.setattr(fitting, "measure", lambda *arrays: measures)
    assert run("fit", out, "--kind", "lr", "--out", tmp_path / "lr") == 0
    error = capsys.readouterr().err
    expected = (
        f"gnnflow-policy: warning: lr makes the better choice in {right:.3f} of situations not "
        "seen before, always giving the more frequent answer in 0.800; collect from further "
        "graphs and budgets, or try another kind\n"
    )
    assert error == (expected if warns else "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("colect",), "unknown command 'colect'; did you mean 'collect'?"),
        (("collect", "none"), "none holds no traces"),
        (("fit", "none.jsonl"), "cannot read the situations none.jsonl"),
    ],
)
def test_errors_are_one_line(words, message, capsys):
    assert run(*words) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("collect", "none", "--budgets", "0.1,x"), "expected numbers with commas between"),
        (("collect", "none", "--budgets", "2"), "budgets must be in (0, 1], got 2"),
        (("collect", "none", "--horizon", "0"), "horizon must be at least 1, got 0"),
        (("fit", "none.jsonl", "--test-share", "1"), "test_share must be between 0 and 1"),
    ],
)
def test_options_are_checked(words, message, capsys):
    assert run(*words) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_help_without_a_command(capsys):
    assert run() == 0
    assert "get-model" in capsys.readouterr().out
