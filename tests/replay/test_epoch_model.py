"""The epoch model against small cases worked out by hand and runs simulated by its own rules."""

import math

import numpy as np
import pytest

from gnnflow.config import DEFAULT_DEPTH
from gnnflow.errors import DataError
from gnnflow.replay import TraceFacts, TraceRecorder
from gnnflow.replay.epoch_model import EpochModel


def make_traces(num_ranks=2, num_epochs=3, depth=2, wait_s=0.0, steps=10, **changes):
    """Sampling takes 1 s, fetching 0.5 s and 1 s per 50 bytes of 100 to 190, training 3 s."""
    traces = []
    for rank in range(num_ranks):
        facts = TraceFacts(
            graph="toy",
            rank=rank,
            num_ranks=num_ranks,
            batch_size=4,
            num_train_seeds=4 * steps * num_ranks,
            gradient_bytes=1000,
            settings={"prefetch_depth": depth},
        )
        halo = np.zeros(0, dtype=np.int64)
        recorder = TraceRecorder(facts, halo, halo)
        for epoch in range(num_epochs):
            for step in range(steps):
                moved = 100 + 10 * (step % 11)
                columns = {
                    "epoch": epoch,
                    "moved_bytes": moved,
                    "sample_s": 1.0,
                    "fetch_s": 0.5 + moved / 50,
                    "train_s": 2.75,
                    "all_reduce_s": 0.25,
                    "wait_s": wait_s,
                }
                recorder.add(halo, **columns | changes)
        traces.append(recorder.trace())
    return traces


def test_the_link_is_found_again():
    model = EpochModel.fit(make_traces())
    assert model.link.latency_s == pytest.approx(0.5)
    assert model.link.bytes_per_s == pytest.approx(50)
    assert model.num_ranks == 2 and model.depth == 2
    assert model.measured_s == pytest.approx(30)


def test_without_prefetching_the_stages_add_up():
    model = EpochModel.fit(make_traces(depth=0))
    fetch_s = sum(0.5 + (100 + 10 * step) / 50 for step in range(10))
    prediction = model.predict()
    assert prediction.epoch_s == pytest.approx(10 * 1 + fetch_s + 10 * 3)
    assert prediction.fetch_s == pytest.approx(fetch_s)
    assert prediction.train_s == pytest.approx(30)
    assert prediction.bytes_fetched == pytest.approx(2 * sum(100 + 10 * step for step in range(10)))


def test_with_prefetching_the_slowest_stage_counts():
    model = EpochModel.fit(make_traces(depth=2))
    assert model.overlap == 1.0
    fast = model.predict(bytes_per_s=1e12, latency_s=0.0)
    # Training and its all-reduce are all that counts, after one sampling.
    assert fast.epoch_s == pytest.approx(1 + 10 * 3)
    slow = model.predict(bytes_per_s=10.0, latency_s=0.0)
    # Fetching is all that counts, and what comes before the first and after the last of it.
    gradients = 2 * 0.5 * 1000 / 10
    assert slow.epoch_s == pytest.approx(1 + 10 + 10 * (3 + gradients), rel=0.2)


def test_more_depth_never_costs():
    model = EpochModel.fit(make_traces())
    times = [model.predict(depth=depth, bytes_per_s=40.0).epoch_s for depth in (0, 1, 2, 5)]
    assert times == sorted(times, reverse=True)


def test_less_volume_and_faster_links_never_cost():
    model = EpochModel.fit(make_traces())
    for depth in (0, 2):
        by_volume = [
            model.predict(depth=depth, relative_volume=share).epoch_s for share in (1, 0.5, 0)
        ]
        assert by_volume == sorted(by_volume, reverse=True)
        by_rate = [model.predict(depth=depth, bytes_per_s=rate).epoch_s for rate in (20, 50, 900)]
        assert by_rate == sorted(by_rate, reverse=True)


def test_more_ranks_take_fewer_steps_and_larger_all_reduces():
    model = EpochModel.fit(make_traces())
    prediction = model.predict(num_ranks=8, bytes_per_s=1000.0)
    assert prediction.num_steps == math.ceil(80 / (8 * 4))
    assert prediction.epoch_s < model.predict(bytes_per_s=1000.0).epoch_s
    gradients = 3 * 0.25 + 2 * 7 / 8 * 1000 / 1000  # three rounds for one, and a ring of 8
    assert prediction.train_s == pytest.approx(3 * (2.75 + gradients))
    alone = model.predict(num_ranks=1)
    assert alone.bytes_fetched == 0
    assert alone.train_s == pytest.approx(20 * 2.75)
    assert model.predict(num_ranks=1000).num_steps == 1


def test_a_depth_that_was_left_open_is_the_default():
    assert EpochModel.fit(make_traces(depth=None)).depth == DEFAULT_DEPTH
    assert EpochModel.fit(make_traces(depth=None, num_ranks=1)).depth == 0


def test_what_did_not_overlap_is_fitted():
    # The run took 30 s of training and as much waiting, more than perfect overlap would have.
    model = EpochModel.fit(make_traces(wait_s=1.5))
    assert 0 < model.overlap < 1
    # Recorded epochs run into each other, a predicted one has a beginning.
    assert model.predict().epoch_s == pytest.approx(45, rel=0.05)
    assert EpochModel.fit(make_traces(wait_s=100.0)).overlap == 0


def test_fetches_of_one_size_and_none():
    model = EpochModel.fit(make_traces(moved_bytes=70.0, fetch_s=0.3))
    assert (model.link.latency_s, model.link.bytes_per_s) == (pytest.approx(0.3), math.inf)
    model = EpochModel.fit(make_traces(num_ranks=1, moved_bytes=0.0, fetch_s=0.0))
    assert model.predict().fetch_s == 0


def test_traces_without_times_are_refused():
    with pytest.raises(DataError, match="hold no times"):
        EpochModel.fit(make_traces(train_s=0.0))
    first, second = make_traces()
    with pytest.raises(DataError, match="do not fit together"):
        EpochModel.fit([first, second.head(5)])
