"""Summaries, progress, tasks: what a run shows and how it is counted."""

import io
import itertools
import json
import re
from collections import Counter

import pytest
import torch
from rich.console import Console

from gnnflow.policies import DecisionStatistics
from gnnflow.training.records.progress import TrainingProgress
from gnnflow.training.records.step_metrics import STEP_COLUMNS, EpochMetrics, StepMetrics
from gnnflow.training.records.summary import RunSummary, policy_table
from gnnflow.training.tasks import MultiLabelTask, SingleLabelTask
from gnnflow.units import human_bytes, human_seconds, short_number, signed_percent


def epoch_metrics(epoch=0, **values):
    common = {
        "loss": 1.5,
        "epoch_time_s": 2.0,
        "sample_s": 0.1,
        "fetch_s": 0.2,
        "wait_s": 0.3,
        "compute_s": 0.4,
        "all_reduce_s": 0.5,
        "hit_rate": 0.25,
        "volume_rows": 75,
        "volume_bytes": 7500,
        "rows_without_cache": 100,
        "peak_memory_bytes": 10**9,
    }
    return EpochMetrics(epoch=epoch, **(common | values))


def run_summary(epochs, scores=None):
    scores = [{}] * len(epochs) if scores is None else scores
    return RunSummary(
        graph="cora",
        model="sage",
        num_ranks=4,
        score_name="accuracy",
        scores=scores[-1],
        epochs=epochs,
        epoch_scores=scores,
        total_time_s=9.0,
        config={"lr": 0.1},
    )


def test_totals():
    summary = run_summary(
        [
            epoch_metrics(0, hit_rate=0.0, epoch_time_s=9.0, volume_rows=100, volume_bytes=10000),
            epoch_metrics(1, rows_without_cache=300, volume_rows=225, peak_memory_bytes=3),
            epoch_metrics(2, hit_rate=None, rows_without_cache=0, volume_rows=0, volume_bytes=0),
        ]
    ).as_json()
    assert summary["epoch_time_s"] == 2.0
    assert summary["hit_rate"] == pytest.approx(75 / 400)
    assert summary["volume_rows"] == 325 and summary["volume_bytes"] == 17500
    assert summary["rows_without_cache"] == 400
    assert summary["peak_memory_bytes"] == 10**9
    assert [epoch["hit_rate"] for epoch in summary["epochs"]] == [0.0, 0.25, None]
    assert summary["test_accuracy"] is None


def test_no_remote_rows_is_no_hit_rate():
    summary = run_summary([epoch_metrics(hit_rate=None, rows_without_cache=0)])
    assert summary.hit_rate is None
    assert json.loads(json.dumps(summary.as_json()))["hit_rate"] is None


def test_table_and_file(tmp_path):
    scores = [{"train": 0.9, "val": None, "test": 0.81234}]
    summary = run_summary([epoch_metrics()], scores)
    summary.write(tmp_path / "summary.json")
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]
    read = json.loads((tmp_path / "summary.json").read_text())
    assert (read["train_accuracy"], read["val_accuracy"]) == (0.9, None)
    console = Console(file=io.StringIO(), width=80)
    console.print(summary.table())
    text = console.file.getvalue()
    for words in ("sage on cora, 4 ranks", "0.8123", "0.250", "7.5 kB", "1.0 GB"):
        assert words in text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (61_200_000, "61.2 MB"), (3e15, "3000.0 TB")],
)
def test_human_bytes(number, text):
    assert human_bytes(number) == text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (84_123, "84.1k"), (2.5e6, "2.5M"), (3e9, "3G")]
)
def test_short_number(number, text):
    assert short_number(number) == text


def test_seconds_and_changes():
    assert [human_seconds(number) for number in (0.00006, 0.25, 12.3)] == [
        "0.06 ms",
        "0.25 s",
        "12 s",
    ]
    texts = [signed_percent(change) for change in (-0.471, 0.0, 0.0312, 1.5)]
    assert texts == ["−47 %", "+0 %", "+3.1 %", "+150 %"]


def step_metrics(step, **values):
    common = dict.fromkeys(STEP_COLUMNS, 0) | {"step": step, "weight": 1.0}
    return StepMetrics.from_columns(common | values)


def show(console):
    steps = [
        step_metrics(
            step,
            num_seeds=3,
            loss=0.5,
            num_vertices=20_000,
            wait_s=0.5,
            rows_asked=100,
            rows_cached=step * 50,
        )
        for step in range(2)
    ]
    ticks = itertools.count()
    with TrainingProgress(
        console, num_epochs=10, num_steps=2, clock=lambda: 2.0 * next(ticks)
    ) as progress:
        for epoch in range(2):
            progress.start_epoch(epoch)
            for step in steps:
                progress.show_step(step)
            progress.show_epoch(epoch_metrics(epoch), {"val": 0.5, "test": None})
    return console.file.getvalue()


def test_a_pipe_gets_a_line_per_epoch():
    text = show(Console(file=io.StringIO(), width=20))
    line = "loss 1.5000  val 0.5000  2.00 s  hit rate 0.250  75 rows fetched  7.5 kB"
    assert text.splitlines() == [f"epoch  1/10  {line}", f"epoch  2/10  {line}"]


def test_a_terminal_gets_a_live_line_too():
    text = show(Console(file=io.StringIO(), width=120, force_terminal=True))
    assert "epoch 2/10 2/2" in text and "epoch  2/10" in text
    assert "loss 0.500  hits 25%  wait 25%  10k rows/s" in text
    assert "ETA" in text


def test_the_live_line_fits_a_terminal():
    for line in show(Console(file=io.StringIO(), width=80, force_terminal=True)).splitlines():
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).split("\r")
        assert all(len(part) <= 80 or "rows fetched" in part for part in plain)


def test_steps_without_seeds_or_remote_rows():
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    with TrainingProgress(console, num_epochs=1, num_steps=1) as progress:
        progress.start_epoch(0)
        progress.show_step(step_metrics(0))
        progress.show_epoch(epoch_metrics(hit_rate=None), {})
    assert "hit" not in console.file.getvalue() and "loss 1.5000" in console.file.getvalue()


def test_accuracy():
    task = SingleLabelTask(3)
    logits = torch.eye(3)[[0, 1, 2, 2]]
    labels = torch.tensor([0, 1, 1, 2], dtype=torch.int32)
    counts = task.count(logits, labels)
    assert counts.tolist() == [1, 1, 1, 0, 0, 1, 0, 1, 0]
    assert not task.count(logits[:0], labels[:0]).any()
    assert task.scores(counts)["accuracy"] == 0.75
    assert task.scores(0 * counts) == {"accuracy": None, "macro-F1": None}
    expected = torch.nn.functional.cross_entropy(logits, labels.long())
    assert torch.equal(task.loss(logits, labels), expected)


def test_micro_f1():
    task = MultiLabelTask(5)
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(40, 5, generator=draw)
    labels = torch.randint(0, 2, (40, 5), generator=draw).to(torch.uint8)
    counts = task.count(logits[:15], labels[:15]) + task.count(logits[15:], labels[15:])
    right = float(((logits > 0) & (labels > 0)).sum())
    precision, recall = right / float((logits > 0).sum()), right / float(labels.sum())
    assert task.scores(counts)["micro-F1"] == pytest.approx(
        2 * precision * recall / (precision + recall)
    )
    assert task.loss(logits, labels).dtype == torch.float32


def test_a_policys_better_choices_stand_beside_their_rivals():
    figures = DecisionStatistics(
        points=9, statuses=Counter(valid=8), judged=8, right=6, right_to_keep=7, threshold_right=8
    ).summary()
    table = policy_table({"name": "auto", "ranks": 2, **figures})
    rows = dict(zip(*(column.cells for column in table.columns), strict=True))
    assert [
        rows[name] for name in ("Pass@1", "  always no", "  always yes", "  one threshold")
    ] == [
        "75.0 %",
        "87.5 %",
        "12.5 %",
        "100.0 %",
    ]
    assert "another policy meets others" in table.caption
    unjudged = policy_table({"name": "auto", "ranks": 1, **DecisionStatistics().summary()})
    assert unjudged.caption is None
