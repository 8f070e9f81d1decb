"""gnnflow-info: partitions, runs, traces and checkpoints in a few lines."""

import json
from functools import partial

import numpy as np
import pytest
from made_run import make_parts, make_run

from gnnflow.cli import info as command
from gnnflow.replay import TraceFacts, TraceRecorder


@pytest.fixture
def call(call_command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    return partial(call_command, "gnnflow-info", command.main)


def as_json(call, path):
    code, out, err = call(path, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def make_traces(folder):
    for rank in range(2):
        facts = TraceFacts(
            graph="small", rank=rank, num_ranks=2, fanout=(3, 2), settings={"capacity": 8}
        )
        recorder = TraceRecorder(facts, np.arange(30), np.ones(30, dtype=np.int64))
        for epoch in range(2):
            recorder.add(np.arange(5 + rank), epoch=epoch, num_hits=2)
        recorder.save(folder)
    return folder


def write_checkpoint(folder, epoch):
    content = {
        "format": "gnnflow-checkpoint",
        "version": 1,
        "gnnflow": "0.1.0",
        "position": {"epoch": epoch, "step": 3, "num_updates": 13},
        "score": 0.75,
        "num_ranks": 4,
        "graph": {"name": "small"},
        "partition": "",
        "seeds": "",
        "model": {"class": "LayeredModel", "options": {"name": "sage"}},
        "options": {},
        "files": {"model.safetensors": {"size_bytes": 2000, "sha256": ""}},
    }
    path = folder / f"epoch-{epoch:04d}-step-000003"
    path.mkdir(parents=True)
    (path / "checkpoint.json").write_text(json.dumps(content))
    return path


def test_a_partition(call, tmp_path):
    parts = make_parts(tmp_path / "parts", num_parts=3)
    said = as_json(call, parts)
    assert said["kind"] == "partition"
    assert (said["facts"]["vertices"], said["facts"]["parts"]) == (60, 3)
    assert said["facts"]["arrays"] == ["x float32[4]", "y int64[]"]
    assert said["facts"]["edge weights"] == []
    assert said["columns"] == ["part", "vertices", "in-edges", "halo", "train", "val"]
    assert np.sum(said["rows"], axis=0)[[1, 2, 4, 5]].tolist() == [60, 400, 40, 20]
    code, out, _ = call(parts)
    assert code == 0 and "edge cut" in out and "float32[4]" in out


def test_a_run(call, tmp_path):
    run = make_run(tmp_path / "run", tmp_path / "gone")
    facts = as_json(call, run)["facts"]
    assert (facts["ranks"], facts["epochs"], facts["hit rate"]) == (2, 2, 0.25)
    assert facts["rows over Belady's"] == 1.154
    assert facts["decisions"] == ["keep 2", "missed 2", "replace 2"]
    assert "fanout=10,25" in facts["options"]


def test_traces(call, tmp_path):
    folder = make_traces(tmp_path / "traces")
    said = as_json(call, folder)
    assert (said["kind"], said["facts"]["epochs"]) == ("trace", 2)
    assert said["rows"] == [[0, 30, 10, 4, 0], [1, 30, 12, 4, 0]]
    one = as_json(call, folder / "trace-rank00001.npz")
    assert one["rows"] == [[1, 30, 12, 4, 0]]


def test_checkpoints(call, tmp_path):
    path = write_checkpoint(tmp_path / "checkpoints", 1)
    said = as_json(call, path)
    assert said["kind"] == "checkpoint"
    assert said["facts"]["complete epochs"] == 1 and said["facts"]["size"] == "2.0 kB"
    newest = write_checkpoint(tmp_path / "checkpoints", 2)
    said = as_json(call, tmp_path / "checkpoints")
    assert said["path"] == str(newest) and said["facts"]["checkpoints in the folder"] == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "does not exist; give a partition folder"),
        ("", "holds none of them"),
        ("broken", "is not that of a checkpoint, or damaged"),
    ],
)
def test_mistakes_are_told_in_one_line(call, tmp_path, name, message):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "checkpoint.json").write_text("{}")
    path = tmp_path / name
    if not name:
        path = tmp_path / "empty"
        path.mkdir()
    code, _, error = call(path)
    assert code == 1 and message in error and len(error.splitlines()) == 1


def test_the_current_folder_by_its_names(call, tmp_path, monkeypatch):
    """As `.`, with a slash, through a link, and from below."""
    parts = make_parts(tmp_path / "parts")
    run = make_run(tmp_path / "run", parts)
    (tmp_path / "link").symlink_to("parts")
    monkeypatch.chdir(parts)
    for path, kind, shown in (
        (".", "partition", parts),
        ("part-00000/..", "partition", parts),
        ("../link/", "partition", "../link"),
        ("../run/.", "run", "../run"),
    ):
        out = call(path)[1]
        assert out.startswith(f"{kind} {shown}\ngraph "), out
    monkeypatch.chdir(run)
    assert call(".")[1].startswith(f"run {run}\n")


def test_a_folder_that_holds_some(call, tmp_path, monkeypatch):
    make_run(tmp_path / "b-run", make_parts(tmp_path / "a-parts"))
    make_traces(tmp_path / "traces")
    write_checkpoint(tmp_path / "saved", 1)
    (tmp_path / "others").mkdir()
    monkeypatch.chdir(tmp_path)
    assert as_json(call, ".")["facts"] == {
        "a-parts": "partition",
        "b-run": "run",
        "saved": "checkpoints",
        "traces": "traces",
    }
    assert call("others")[2].startswith("gnnflow-info: error: others holds none of them; ")
