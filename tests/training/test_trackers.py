"""TensorBoard and Weights & Biases, as they are, told of two epochs."""

import sys

import pytest
import wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gnnflow.config import RecordsConfig
from gnnflow.errors import MissingExtraError
from gnnflow.training.records.step_metrics import STEP_COLUMNS, EpochMetrics, StepMetrics
from gnnflow.training.records.trackers import TensorBoardTracker, Trackers


def tell(trackers):
    for epoch in range(2):
        trackers.start_epoch(epoch)
        for step in range(3):
            columns = dict.fromkeys(STEP_COLUMNS, 0) | {
                "step": step,
                "loss": 10.0 * epoch + step,
                "num_seeds": step,
                "rows_asked": 4 * step,
                "rows_cached": step,
            }
            trackers.show_step(StepMetrics.from_columns(columns))
        values = dict.fromkeys(EpochMetrics.__dataclass_fields__, 1) | {"epoch": epoch}
        trackers.show_epoch(
            EpochMetrics(**(values | {"hit_rate": None})), {"val": 0.5 + epoch / 4, "test": None}
        )


def test_tensorboard(tmp_path):
    with Trackers(RecordsConfig(tensorboard=True), tmp_path, 3, {}) as trackers:
        tell(trackers)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()

    def points(name):
        return [(point.step, point.value) for point in events.Scalars(name)]

    assert points("step/loss") == [(1, 1.0), (2, 2.0), (4, 11.0), (5, 12.0)]
    assert points("step/hit_rate") == [(1, 0.25), (2, 0.25), (4, 0.25), (5, 0.25)]
    assert points("score/val") == [(2, 0.5), (5, 0.75)]
    assert "epoch/hit_rate" not in events.Tags()["scalars"]


def test_wandb(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    config = RecordsConfig(wandb="project")
    with Trackers(config, tmp_path, 3, {"lr": 0.1}) as trackers:
        tell(trackers)
    wandb.teardown()  # its service writes the file to the end after the run has finished
    [folder] = (tmp_path / "wandb").glob("offline-run-*")
    [log] = folder.glob("*.wandb")
    assert b"score/val" in log.read_bytes()


@pytest.mark.parametrize(
    ("name", "options"), [("tensorboard", {"tensorboard": True}), ("wandb", {"wandb": "project"})]
)
def test_a_missing_package_is_named(tmp_path, monkeypatch, name, options):
    for module in [each for each in sys.modules if each.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=rf'pip install "gnnflow\[{name}\]"'):
        Trackers(RecordsConfig(**options), tmp_path, 3, {})


def test_a_tracker_that_fails_ends_no_run(tmp_path, monkeypatch, caplog):
    with Trackers(RecordsConfig(tensorboard=True), tmp_path, 3, {}) as trackers:
        monkeypatch.setattr(TensorBoardTracker, "log", lambda *given: 1 / 0)
        tell(trackers)
    (record,) = caplog.records
    message = "TensorBoardTracker fails and is told nothing more: division by zero"
    assert record.getMessage() == message
