"""Reading the folder of a run back: what is there, what may be missing, what is refused."""

import json
import re

import numpy as np
import pytest
from made_run import EXPLANATION, NUM_STEPS, decision_line, make_parts, make_run

from gnnflow.cache.belady import belady_hits
from gnnflow.errors import DataError
from gnnflow.replay import TraceFacts, TraceRecorder
from gnnflow.replay.optimum import Optimum
from gnnflow.report import read_run
from gnnflow.report.curves import Windows, cumulative, hit_rates, least_rows, losses
from gnnflow.report.decisions import read_decisions
from gnnflow.report.figures import tiles


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return make_parts(tmp_path_factory.mktemp("report") / "parts")


@pytest.fixture
def folder(tmp_path, parts):
    return make_run(tmp_path / "run", parts)


def test_everything_is_read(folder):
    record = read_run(folder)
    assert (record.name, record.num_ranks, record.num_steps) == ("run", 2, 2 * NUM_STEPS)
    assert record.field("wait_s").tolist() == [[0.0, 1.0]] * 10
    assert record.field("no such field").shape == (10, 2)
    assert record.optimum.hits.tolist() == [70] * 10
    assert record.partition.sizes["vertices"].sum() == 60
    assert record.partition.halo_rows.diagonal().tolist() == [0, 0]
    assert record.partition.halo_rows.sum(1).tolist() == record.partition.sizes["halo"].tolist()


def test_decisions(folder):
    decisions = read_decisions(folder)
    assert [(each.minibatch, each.rank) for each in decisions] == [
        (2, 0), (2, 1), (5, 0), (5, 1), (7, 0), (7, 1)
    ]  # fmt: skip
    assert [each.kind for each in decisions[::2]] == ["replace", "keep", "missed"]
    assert decisions[0].lines == [
        "replace · minibatch 2, rank 0",
        EXPLANATION,
        "expected: rows moved −25 %",
        "measured: hit rate +3.1 points, rows moved −12 %",
        "answered in 0.25 s",
    ]
    assert decisions[4].lines == [
        "no answer · minibatch 7, rank 0",
        "PolicyError: the server is away",
        "failed · answered in 0.25 s",
    ]


def test_a_decision_that_was_taken_twice_counts_once(folder):
    with (folder / "decisions-rank1.jsonl").open("a") as file:
        file.write(json.dumps(decision_line(2, False)) + '\n{"minib')
    kinds = [each.kind for each in read_decisions(folder) if each.minibatch == 2]
    assert kinds == ["replace", "keep"]


def test_curves(folder):
    record = read_run(folder)
    windows = Windows.of(record.num_steps, 3)
    assert windows.starts.tolist() == [0, 4, 8] and windows.ends.tolist() == [4, 8, 10]
    job, ranks = hit_rates(record, windows)
    assert job.tolist() == [0.25] * 3 and ranks.tolist() == [[0.25, 0.25]] * 3
    fetched = record.field("rows_fetched").sum(1)
    assert cumulative(fetched, windows).tolist() == [600, 1200, 1500]
    assert least_rows(record).tolist() == [130] * 10
    expected = np.mean([2 / (1 + step) for step in range(4)])
    assert losses(record, windows)[0] == pytest.approx(expected)


def test_a_step_that_was_taken_twice_counts_once(folder):
    """A run that was killed and resumed writes some steps again; a line may be cut off."""
    with (folder / "metrics.jsonl").open("a") as file:
        for rank in range(2):
            line = {"epoch": 1, "rank": rank, "step": 4, "rows_fetched": 7}
            file.write(json.dumps(line) + "\n")
        file.write('{"epoch": 1, "ra')
    record = read_run(folder)
    assert record.num_steps == 10
    assert record.field("rows_fetched")[-2:].tolist() == [[75, 75], [7, 7]]


def test_the_optimum_may_come_from_traces(folder, tmp_path):
    draw = np.random.default_rng(0)
    expected = np.zeros(10, dtype=np.int64)
    for rank in range(2):
        facts = TraceFacts(graph="small", rank=rank, num_ranks=2, settings={"capacity": 8})
        recorder = TraceRecorder(facts, np.arange(30), np.ones(30, dtype=np.int64))
        minibatches = [np.unique(draw.integers(0, 30, 12)) for _ in range(10)]
        for ids in minibatches:
            recorder.add(ids)
        expected += belady_hits(minibatches, 8)
        recorder.save(tmp_path / "traces")
    Optimum(capacity_rows=[8, 8], hits=None, left_out="too many").write(folder)
    assert read_run(folder).optimum.left_out == "too many"
    summary = json.loads((folder / "summary.json").read_text())
    summary["config"]["cache"]["trace"] = str(tmp_path / "traces")
    (folder / "summary.json").write_text(json.dumps(summary))
    assert read_run(folder).optimum.hits.tolist() == expected.tolist()


def test_what_may_be_missing(folder, tmp_path):
    (folder / "optimum.json").unlink()
    for path in folder.glob("decisions-*"):
        path.unlink()
    summary = json.loads((folder / "summary.json").read_text())
    summary["config"]["parts"] = str(tmp_path / "gone")
    (folder / "summary.json").write_text(json.dumps(summary))
    record = read_run(folder)
    assert record.partition is None and record.decisions == ()
    assert record.optimum.left_out == "the run did not note which rows it asked for"


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("summary.json", None, "holds no summary.json, which a finished run leaves"),
        ("summary.json", "{", "summary.json cannot be read"),
        ("summary.json", "[" * 100_000, "summary.json cannot be read"),
        ("summary.json", "[]", "summary.json cannot be read (it is no JSON object)"),
        ("metrics.jsonl", '{"epoch": 0, "step": 0, "rank": -1}\n', "line 1 is not a step"),
        ("metrics.jsonl", '{"epoch": 0, "step": 0, "rank": 0, "loss": "x"}\n', "not a step"),
        ("optimum.json", '{"hits": 3, "capacity_rows": [], "left_out": null}', "is damaged"),
        ("metrics.jsonl", None, "metrics.jsonl cannot be read"),
        ("metrics.jsonl", "", "holds no step of all 2 ranks"),
        ("metrics.jsonl", '{"epoch": 0}\n', "line 1 is not a step of this run"),
        ("metrics.jsonl", "nonsense\n{}\n", "line 1 is not JSON"),
        ("optimum.json", "[]", "optimum.json is damaged"),
        ("decisions-rank0.jsonl", '{"minibatch": 1}\n{}\n', "line 1 is not a decision"),
    ],
)
def test_damage_is_named(folder, file, text, said):
    if text is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(text)
    with pytest.raises(DataError, match=re.escape(said)):
        read_run(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("graph", None), ("model", 3), ("score", []), ("num_ranks", 0), ("num_ranks", 2**70)),
        *(("epoch_time_s", "1"), ("volume_rows", None), ("volume_rows", float("nan"))),
        *(("hit_rate", "much"), ("test_accuracy", [1]), ("epochs", []), ("epochs", [{}])),
        *(("policy", {"mode": "sync"}), ("config", {}), ("config", {"parts": "a\0b"})),
        ("config", {"parts": "parts", "cache": {"trace": 0}}),
        *(("graph", "\ud800"), ("peak_memory_bytes", 10**400)),
    ],
)
def test_a_summary_of_other_values_is_refused(folder, name, value):
    summary = json.loads((folder / "summary.json").read_text()) | {name: value}
    (folder / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(DataError, match="summary.json cannot be read"):
        read_run(folder)


@pytest.mark.parametrize("name", ["graph", "hit_rate", "total_time_s", "epochs", "config"])
def test_a_summary_that_lacks_something_is_refused(folder, name):
    summary = json.loads((folder / "summary.json").read_text())
    del summary[name]
    (folder / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(DataError, match=f"lacks the field '{name}'"):
        read_run(folder)


def test_a_decision_log_that_is_no_text(folder):
    (folder / "decisions-rank0.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="decisions-rank0.jsonl cannot be read"):
        read_run(folder)


def test_the_share_of_better_choices_is_shown_beside_its_rivals_or_not_at_all(folder):
    def note():
        (found,) = [tile.note for tile in tiles(read_run(folder)) if tile.key == "decisions"]
        return found

    assert note().endswith(
        "; the better choice in 75% (always no in 90%, always yes in 10%, one threshold in 95%; "
        "other policies meet other situations)"
    )
    summary = json.loads((folder / "summary.json").read_text())
    for value in (None, "most"):
        summary["policy"]["pass_at_1_threshold"] = value
        (folder / "summary.json").write_text(json.dumps(summary))
        if value is None:
            assert "better choice" not in note()
    with pytest.raises(DataError, match="'pass_at_1_threshold' must be a number or null"):
        read_run(folder)
