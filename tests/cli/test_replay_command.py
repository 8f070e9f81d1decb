"""gnnflow-replay: tables, files, pictures, predictions, and what it refuses."""

import json
import re
from functools import partial

import numpy as np
import pytest

from gnnflow.cli import replay as command
from gnnflow.replay import TraceFacts, TraceRecorder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Traces of two ranks with times."""
    folder = tmp_path_factory.mktemp("run") / "traces"
    for rank in range(2):
        generator = np.random.default_rng(rank)
        halo = np.arange(200, dtype=np.int64)
        facts = TraceFacts(
            graph="toy",
            rank=rank,
            num_ranks=2,
            row_bytes=100,
            batch_size=10,
            num_train_seeds=400,
            gradient_bytes=1000,
            settings={"prefetch_depth": 1},
        )
        recorder = TraceRecorder(facts, halo, halo[::-1].copy())
        weights = generator.random(300) ** 3
        for minibatch in range(40):
            ids = np.flatnonzero(generator.random(300) < weights).astype(np.int64)
            recorder.add(
                ids,
                epoch=minibatch // 20,
                moved_bytes=100 * len(ids),
                sample_s=0.01,
                fetch_s=0.001 + 1e-6 * len(ids),
                train_s=0.02,
            )
        recorder.save(folder)
    return folder


@pytest.fixture
def run(call_command, monkeypatch):
    """Runs the command; returns exit code, output and error output."""
    monkeypatch.setenv("COLUMNS", "200")
    return partial(call_command, "gnnflow-replay", command.main)


def test_table_and_numbers(run, folder, tmp_path):
    code, out, _ = run(
        folder, "--budgets", "10,50", "--scorers", "lookahead,lru", "--json", tmp_path / "out.json"
    )
    assert code == 0
    assert "toy: 2 ranks, 40 minibatches each" in out
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [(row["budget_percent"], row["scorer"]) for row in rows] == [
        (budget, scorer) for budget in (10, 50) for scorer in ("belady", "lookahead", "lru")
    ]
    for best, lookahead, lru in (rows[:3], rows[3:]):
        assert best["volume_rows"] <= lookahead["volume_rows"] <= lru["volume_rows"]
        assert best["over_belady"] == 1.0
        assert best["volume_bytes"] == 100 * best["volume_rows"]
        assert best["hit_rate"] == best["num_hits"] / best["num_requested"]


def test_by_default_all_scorers_that_the_traces_allow(run, folder):
    code, out, _ = run(folder, "--minibatches", "5", "--budgets", "25")
    assert code == 0 and "decay" in out and "vip" not in out


def test_budgets_out_of_range_are_a_usage_error(run, folder):
    code, _, error = run(folder, "--budgets", "5,200")
    assert code == 2 and "in [0, 100] percent, got 200" in error


def test_picture(run, folder, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "out.png"
    assert run(folder, "--scorers", "lru", "--minibatches", "5", "--plot", picture)[0] == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_predictions(run, folder, tmp_path):
    target = tmp_path / "out.json"
    code, out, _ = run(
        folder,
        *("--budgets", "50", "--scorers", "lookahead"),
        *("--predict", "ranks=4,bandwidth=1Mbit,latency=1ms,depth=2", "--json", target),
    )
    assert code == 0 and "estimated epoch (10 steps)" in out
    none, belady, lookahead = json.loads(target.read_text())["predictions"]
    assert (none["scorer"], lookahead["scorer"]) == ("none", "lookahead")
    assert none["moved_bytes"] > belady["moved_bytes"]
    assert none["epoch_s"] > belady["epoch_s"]


def test_policies_may_decide(run, folder):
    code, out, _ = run(
        folder, "--budgets", "25", "--scorers", "decay", "--minibatches", "10", "--policy", "static"
    )
    assert code == 0 and "decay" in out


def test_the_policy_none_is_no_cache(run, folder, tmp_path):
    target = tmp_path / "out.json"
    words = ["--budgets", "25", "--scorers", "decay,lru", "--policy", "none", "--json", target]
    assert run(folder, *words)[0] == 0
    rows = {row["scorer"]: row for row in json.loads(target.read_text())["rows"]}
    assert all(rows[name]["relative_volume"] == 1.0 for name in ("decay", "lru"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scorers", "lfu"], "unknown scorer 'lfu'"),
        (["--scorers", "lookahed"], "did you mean 'lookahead'"),
        (["--predict", "rank=3"], "did you mean 'ranks'"),
        (["--predict", "ranks=0"], "ranks of predict must be a whole number from 1 on, got 0"),
        (["--predict", "bandwidth=10GB"], "one of bit, kbit"),
        (["--plot", "out.txt"], "must end in .png"),
        (["--plot", "missing/out.png"], "does not exist"),
        (["--scorers", "vip"], "needs vertex inclusion probabilities"),
        (
            ["--json", "missing/out.json", "--scorers", "lru"],
            "cannot write the numbers",
        ),
    ],
)
def test_mistakes_are_told_in_one_line(run, folder, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    code, _, error = run(folder, *words)
    assert code == 1
    assert len(error.strip().splitlines()) == 1
    assert re.search(message, error)


def test_a_folder_without_traces(run, tmp_path):
    code, _, error = run(tmp_path)
    assert code == 1 and "record some with --trace" in error


def test_units():
    conditions = command.parse_conditions("ranks=64, bandwidth=10Gbit,latency=50us")
    assert conditions["num_ranks"] == 64
    assert conditions["bytes_per_s"] == pytest.approx(1.25e9)
    assert conditions["latency_s"] == pytest.approx(5e-5)


def test_a_scorer_whose_period_is_longer_than_the_run_has_no_figures(run, folder, tmp_path):
    words = [folder, "--scorers", "decay,lru", "--budgets", "25", "--minibatches", "20"]
    code, out, _ = run(*words, "--json", tmp_path / "out.json", "--plot", tmp_path / "out.svg")
    assert code == 0
    (row,) = [line for line in out.splitlines() if re.match(r"\W+decay\W", line)]
    assert re.sub(r"[\s│]+", " ", row).strip() == "decay - - - - -"
    assert (
        "decay: no figures, for nothing came into the cache: its first replacement comes after 25 "
        "minibatches, and a rank has 20; give another --period or record more\n"
    ) in out
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert {row["scorer"]: row["never_filled"] for row in rows} == {
        "belady": False,
        "decay": True,
        "lru": False,
    }
    out = run(*words, "--period", "5")[1]
    assert "no figures" not in out and "decay -" not in re.sub(r"[\s│]+", " ", out)
    assert "never comes (period 0)" in run(*words, "--period", "0")[1]
