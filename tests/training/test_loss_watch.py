"""Losses and weights that are no numbers, in one process."""

import io
import json
import math

import pytest
import torch
from test_summary import epoch_metrics
from torch import nn

import gnnflow
from gnnflow.errors import DivergedError
from gnnflow.training.loss_watch import LossWatch
from gnnflow.training.records.step_metrics import STEP_COLUMNS, EpochRecorder, StepMetrics


@pytest.fixture
def ctx():
    with gnnflow.init() as context:
        yield context


def step(number, loss):
    columns = dict.fromkeys(STEP_COLUMNS, 1) | {"step": number, "loss": loss}
    return StepMetrics.from_columns(columns)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_ends_the_job(ctx, loss):
    watch = LossWatch(ctx, nn.Linear(2, 2), "stop")
    watch.after_step(0, step(0, 1e38))
    with pytest.raises(DivergedError, match=r"^the loss is NaN or infinite at step 4 of epoch 3; "):
        watch.after_step(2, step(3, loss))


def test_a_warning_is_given_once(ctx, caplog):
    model = nn.Linear(2, 2)
    watch = LossWatch(ctx, model, "warn")
    for number, loss in enumerate([1.0, math.nan, math.inf]):
        watch.after_step(0, step(number, loss))
    with torch.no_grad():
        model.bias[1] = math.inf
    watch.after_epoch(0, (1, 0))
    (record,) = caplog.records
    assert record.getMessage().startswith("the loss of rank 0 is nan at step 2 of epoch 1; take a ")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_not_saved(ctx, value):
    model = nn.Linear(2, 2)
    assert LossWatch(ctx, model, "stop").has_weights("now")
    with torch.no_grad():
        model.weight[1, 0] = value
    assert not LossWatch(ctx, model, "warn").has_weights("now")
    with pytest.raises(DivergedError, match="weights are NaN or infinite after epoch 1"):
        LossWatch(ctx, model, "stop").after_epoch(0, None)


def test_the_recorder_counts_them_and_writes_null(ctx):
    sink = io.StringIO()
    recorder = EpochRecorder(ctx, sink)
    for number, loss in enumerate([0.5, math.inf, 0.25, math.nan]):
        recorder.add(step(number, loss))
    metrics = recorder.finish(0, 1.0)
    assert (metrics.nan_losses, recorder.first_nan) == (2, (1, 0))
    lines = [json.loads(line) for line in sink.getvalue().splitlines()]
    assert [line["loss"] for line in lines] == [0.5, None, 0.25, None]
    assert "NaN" not in sink.getvalue() and "Infinity" not in sink.getvalue()
    recorder.add(step(0, 1.0))
    assert recorder.finish(1, 1.0).nan_losses == 0 and recorder.first_nan is None


def test_epochs_without_them_look_as_before():
    assert epoch_metrics().nan_losses == 0
