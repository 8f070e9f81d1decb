"""Replays against Belady's optimum, the live cache with rows, and what the settings promise."""

import numpy as np
import pytest
from trace_maker import make_trace

from gnnflow.cache import LookaheadWindow, belady_hits
from gnnflow.cache.halo_cache import HaloCache
from gnnflow.cache.scorers import SCORERS, LookaheadScorer, LruScorer
from gnnflow.errors import ConfigError
from gnnflow.replay import Replay, ReplaySettings, replay_trace


@pytest.mark.parametrize("capacity", [0, 1, 10, 60, 200, 1000])
@pytest.mark.parametrize("with_vip", [True, False])
def test_a_window_to_the_end_is_the_optimum(capacity, with_vip):
    trace = make_trace(capacity)
    best = belady_hits(trace.minibatches(), capacity).sum()
    settings = ReplaySettings(capacity=capacity, lookahead=1000, with_vip=with_vip)
    assert replay_trace(trace, settings).rows_hit.sum() == best


@pytest.mark.parametrize("capacity", [10, 30, 60, 120])
def test_the_automatic_window_is_short_and_as_good(capacity):
    trace = make_trace(capacity, num_minibatches=200)
    best = trace.rows_asked - belady_hits(trace.minibatches(), capacity).sum()
    result = replay_trace(trace, ReplaySettings(capacity=capacity))
    assert result.volume_rows <= 1.01 * best
    assert result.window.mean() < 30


def test_no_scorer_beats_the_optimum_and_all_count_the_same():
    trace = make_trace(3)
    for capacity in (0, 20, 100):
        best = trace.rows_asked - int(belady_hits(trace.minibatches(), capacity).sum())
        for scorer in SCORERS:
            for fill in ("empty", "degree", "random", "vip"):
                settings = ReplaySettings(scorer=scorer, capacity=capacity, fill=fill, period=5)
                result = replay_trace(trace, settings)
                assert result.volume_rows >= best
                assert result.rows_filled_at_start == (0 if fill == "empty" else capacity)
                assert result.volume_bytes == 64 * result.volume_rows
                assert (result.rows_fetched >= 0).all()
                assert scorer == "decay" or not result.rows_filled.any()
                if fill != "empty":
                    assert result.num_evicted.sum() <= result.rows_asked.sum()


def test_nothing_is_replaced_without_a_decision():
    trace = make_trace(4)
    for scorer in SCORERS:
        settings = ReplaySettings(scorer=scorer, capacity=50, fill="degree", period=0)
        result = replay_trace(trace, settings)
        assert not result.num_evicted.any() and not result.rows_filled.any()
    asked = []

    def decide(cache, minibatch):
        asked.append(minibatch)
        return 0.5 if minibatch == 3 else 0.0

    settings = ReplaySettings(scorer="lru", capacity=50, fill="degree")
    result = replay_trace(trace, settings, decide)
    assert asked == list(range(80))
    assert set(np.flatnonzero(result.num_evicted).tolist()) == {3}


def test_hit_rates_are_of_a_window():
    trace = make_trace(5, num_minibatches=50)
    result = replay_trace(trace, ReplaySettings(scorer="lru", capacity=100))
    rates = result.hit_rates(20)
    assert len(rates) == 3
    assert rates[1] == result.rows_hit[20:40].sum() / result.rows_asked[20:40].sum()
    assert result.relative_volume == result.volume_rows / trace.rows_asked


def test_a_live_cache_with_rows_counts_the_same_and_serves_the_right_rows():
    """Also when minibatches are planned while earlier ones' rows are still on their way."""
    trace = make_trace(6)
    features = np.random.default_rng(0).random((1300, 5)).astype(np.float32)
    for scorer in SCORERS:
        for depth in (0, 3):
            settings = ReplaySettings(scorer=scorer, capacity=70, fill="vip", period=3)
            expected = replay_trace(trace, settings)
            books = Replay(trace, settings)
            live = HaloCache(70, books.cache.scorer, row_shape=(5,), dtype="float32")
            live.fill(trace.vip, lambda ids: features[ids])
            books.cache = live
            under_way = []
            for number in range(trace.num_minibatches + depth):
                if number < trace.num_minibatches:
                    books.announce(number)
                    replace = (number + 1) % 3 == 0
                    under_way.append(live.plan(trace.ids(number), replace=replace))
                if number >= depth:
                    step = under_way.pop(0)
                    ids = trace.ids(step.minibatch)
                    hits = step.slots >= 0
                    rows = live.rows_for(step)[step.slots[hits]]
                    assert (rows == features[ids[hits]]).all(), (scorer, number)
                    assert step.rows_hit == expected.rows_hit[step.minibatch]
                    assert step.rows_filled == expected.rows_filled[step.minibatch]
                    live.commit(step, features[step.fetch_ids])
            assert live.counts.rows_fetched == expected.volume_rows


def test_books_are_a_twin_that_goes_its_own_way():
    trace = make_trace(7)
    for scorer in SCORERS:
        run = Replay(trace, ReplaySettings(scorer=scorer, capacity=50, fill="degree"))
        for minibatch in range(30):
            run.announce(minibatch)
            run.step(minibatch, 1.0)
        before = run.cache.counts
        twin = run.cache.books()
        for minibatch in range(30, 40):
            twin.plan(trace.ids(minibatch), replace=False)
        assert run.cache.counts == before
        again = run.cache.books()
        for minibatch in range(30, 40):
            again.plan(trace.ids(minibatch))
            run.announce(minibatch)
            run.step(minibatch, 1.0)
        assert (again.counts - before).num_minibatches == 10
        if scorer not in ("lookahead", "decay"):
            assert again.counts == run.cache.counts
        assert twin.counts.num_evicted <= again.counts.num_evicted


def test_windows_of_fixed_length():
    trace = make_trace(8)
    for lookahead in (0, 1, 5):
        settings = ReplaySettings(capacity=40, lookahead=lookahead)
        window = replay_trace(trace, settings).window
        expected = np.minimum(lookahead, 79 - np.arange(80))
        assert window.tolist() == expected.tolist()


def test_an_automatic_window_stays_within_its_memory():
    trace = make_trace(9)
    sizes = trace.columns["subgraph_bytes"]
    bound = int(sizes.mean() * 3)
    window = replay_trace(trace, ReplaySettings(capacity=200, max_window_bytes=bound)).window
    for minibatch, ahead in enumerate(window):
        # The bound may be passed by the last minibatch that was let in.
        assert sizes[minibatch : minibatch + ahead].sum() <= bound + sizes.max()
    unbounded = replay_trace(trace, ReplaySettings(capacity=200)).window
    assert window.mean() < unbounded.mean()


def test_scorers_that_do_not_look_ahead_are_not_told():
    rule = LookaheadWindow()
    assert not rule.wants_more(HaloCache(5, LruScorer()), 0)
    assert rule.wants_more(HaloCache(5, LookaheadScorer(LruScorer())), 0)


def test_bad_settings_are_refused():
    with pytest.raises(ConfigError, match="lookahead must be 'auto' or a number"):
        LookaheadWindow(lookahead=-1)
    with pytest.raises(ConfigError, match="max_bytes must not be negative"):
        LookaheadWindow(max_bytes=-1)
    trace = make_trace()
    with pytest.raises(ConfigError, match="unknown scorer 'look'"):
        replay_trace(trace, ReplaySettings(scorer="look"))
    with pytest.raises(ConfigError, match="unknown cache fill 'degre'; did you mean 'degree'"):
        replay_trace(trace, ReplaySettings(fill="degre"))
