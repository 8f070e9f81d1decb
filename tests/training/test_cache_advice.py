"""What a run says at its end when its cache cost rows."""

import numpy as np
import pytest

import gnnflow
from gnnflow.cache.vertex_values import VertexValues
from gnnflow.config import CacheConfig
from gnnflow.loader import MinibatchCost
from gnnflow.prefetch.cache_setup import CacheSetup, Halo
from gnnflow.replay import ReplaySettings, TraceFacts, TraceRecorder, replay_trace
from gnnflow.training.records.asked_rows import AskedRows, cache_warning
from gnnflow.training.records.step_metrics import EpochMetrics
from gnnflow.training.records.summary import RunSummary

CAPACITY = 40
NUM_EPOCHS, NUM_STEPS = 2, 30


@pytest.fixture(scope="module")
def minibatches():
    """A few rows come back at once and most never: `decay` fetches what nobody asks for again."""
    fresh, again = np.arange(10), np.arange(3)
    return [
        np.unique(np.concatenate([10 * number + fresh, 10 * max(number - 1, 0) + again]))
        for number in range(NUM_EPOCHS * NUM_STEPS)
    ]


@pytest.fixture
def setup():
    halo = np.arange(200, dtype=np.int64)
    values = Halo(vertices=halo, degrees=halo)
    return CacheSetup(rows=None, halo=values, capacity=CAPACITY)


def replayed(minibatches, **settings):
    halo = np.arange(200, dtype=np.int64)
    recorder = TraceRecorder(TraceFacts(graph="", rank=0, num_ranks=1), halo, halo)
    for ids in minibatches:
        recorder.add(ids)
    return replay_trace(recorder.trace(), ReplaySettings(capacity=CAPACITY, **settings))


def remembered(minibatches):
    asked = AskedRows()
    for ids in minibatches:
        asked.add(0, MinibatchCost(sample_s=0.0, remote_ids=ids), metrics=None)
    return asked


def summary_of(moved, without):
    """A run's summary whose epochs moved so many rows in all."""
    times = dict.fromkeys(("sample_s", "fetch_s", "wait_s", "compute_s", "all_reduce_s"), 0.0)
    epochs = [
        EpochMetrics(
            epoch=epoch,
            loss=1.0,
            epoch_time_s=1.0,
            hit_rate=0.1,
            volume_rows=moved if epoch == 0 else 0,
            volume_bytes=0,
            rows_without_cache=without if epoch == 0 else 0,
            peak_memory_bytes=1,
            **times,
        )
        for epoch in range(NUM_EPOCHS)
    ]
    return RunSummary(
        graph="tail",
        model="sage",
        num_ranks=1,
        score_name="accuracy",
        scores={},
        epochs=epochs,
        epoch_scores=[{}] * NUM_EPOCHS,
        total_time_s=1.0,
        config={},
    )


def warning(summary, config, asked, setup):
    with gnnflow.init(threads=1) as ctx:
        return cache_warning(summary, config, asked, setup, NUM_STEPS, ctx)


def test_decay_that_costs_rows_is_told_with_what_lookahead_fetches(minibatches, setup):
    decay = replayed(minibatches, scorer="decay", period=1, alpha=0.05)
    without = int(decay.rows_asked.sum())
    assert decay.volume_rows > without  # or this run shows nothing
    lookahead = replayed(minibatches, scorer="lookahead").volume_rows
    config = CacheConfig(scorer="decay", period=1)
    said = warning(summary_of(decay.volume_rows, without), config, remembered(minibatches), setup)
    share = 100 * (decay.volume_rows / without - 1)
    assert said == (
        f"the halo cache cost rows: {decay.volume_rows:,} were fetched, {share:.0f} % more than "
        f"{without:,} without it; --scorer lookahead would have fetched {lookahead:,}, by replay"
    )
    assert lookahead < without


def test_a_cache_that_pays_is_not_mentioned(minibatches, setup):
    asked = remembered(minibatches)
    config = CacheConfig(scorer="decay")
    for moved in (90, 100):
        assert warning(summary_of(moved, 100), config, asked, setup) is None


def test_no_numbers_without_all_minibatches(minibatches, setup):
    for asked in (remembered(minibatches[NUM_STEPS:]), AskedRows(max_ids=0)):
        asked.add(0, MinibatchCost(sample_s=0.0, remote_ids=np.arange(9)), metrics=None)
        said = warning(summary_of(114, 100), CacheConfig(scorer="decay"), asked, setup)
        assert said.endswith("14 % more than 100 without it; --scorer lookahead does not")


@pytest.mark.parametrize(
    ("options", "preferred"),
    [
        ({"scorer": "vip"}, "; --scorer lookahead does not"),
        ({"scorer": "decay", "cache_fill": "degree"}, "; --scorer lookahead --cache-fill empty "),
        ({"cache_fill": "vip"}, "; --cache-fill empty does not"),
        ({}, "; --cache-scope rank fetches none at the start, and more epochs pay for them"),
    ],
)
def test_what_is_named_is_another_setting(options, preferred, minibatches, setup):
    asked = remembered(minibatches)
    said = warning(summary_of(7000, 5000), CacheConfig(**options), asked, setup)
    assert preferred in said and "\n" not in said
    # Rows that are fetched although none were needed.
    said = warning(summary_of(7, 0), CacheConfig(**options), asked, setup)
    assert said.startswith("the halo cache cost rows: 7 were fetched, and 0 without it; ")


def test_a_cache_without_room_would_have_found_nothing(minibatches):
    empty = Halo(vertices=np.zeros(0, dtype=np.int64), degrees=np.zeros(0, dtype=np.int64))
    setup = CacheSetup(rows=None, halo=empty, capacity=0)
    without = sum(map(len, minibatches))
    config = CacheConfig(scorer="decay")
    asked = remembered(minibatches)
    for cache in (setup, None):
        said = warning(summary_of(without + 5, without), config, asked, cache)
        assert said.endswith(f"would have fetched {without:,}, by replay")


def test_probabilities_of_the_run_are_used(minibatches):
    halo = np.arange(200, dtype=np.int64)
    values = VertexValues(halo, np.linspace(1, 0, 200, dtype=np.float32))
    setup = CacheSetup(
        rows=None, halo=Halo(vertices=halo, degrees=halo, vip=values), capacity=CAPACITY
    )
    config = CacheConfig(scorer="decay")
    assert "by replay" in warning(summary_of(9999, 4000), config, remembered(minibatches), setup)
