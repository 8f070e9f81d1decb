"""The one search for the best fixed schedule."""

import sys
from pathlib import Path

from benchmarks.fixed_schedules import (
    ALPHAS,
    PERIODS,
    STALE_AFTER,
    FixedSchedule,
    best_schedule,
    capacity_of,
    schedules,
    search,
)
from gnnflow.cli import options
from gnnflow.config import TrainConfig
from gnnflow.replay import ReplaySettings, replay_trace

sys.path.insert(0, str(Path(__file__).parents[1] / "replay"))
from trace_maker import make_trace  # noqa: E402


def test_every_alpha_is_tried_with_every_period():
    assert {0.005, 0.05, 0.2} <= set(ALPHAS)
    found = schedules(("empty", "degree"))
    assert len(found) == len(set(found)) == 2 * len(PERIODS) * len(ALPHAS) + 1
    assert {(each.period, each.alpha) for each in found if each.period} == {
        (period, alpha) for period in PERIODS for alpha in ALPHAS
    }
    assert FixedSchedule(fill="degree", period=0) in found
    # Rows may also be stale sooner or later than the period, which counts once.
    wide = schedules(("empty",), stale_after=(None, *STALE_AFTER))
    assert len(wide) == len(set(wide))
    assert not any(each.stale_after == each.period for each in wide)


def test_the_best_is_the_best_of_all_alphas():
    trace = make_trace(seed=0, num_minibatches=60)
    found = best_schedule([trace], 0.5, schedules(("empty", "degree")))
    capacity = capacity_of(trace, 0.5)
    by_alpha = {
        alpha: min(
            replay_trace(
                trace,
                ReplaySettings(
                    scorer="decay", capacity=capacity, fill=fill, period=period, alpha=alpha
                ),
            ).volume_rows
            for fill in ("empty", "degree")
            for period in (*PERIODS, *(() if fill == "empty" else (0,)))
        )
        for alpha in ALPHAS
    }
    assert found.rows == min(by_alpha.values())
    # Here the customary alpha is not the best one, which a search over it alone would miss.
    assert by_alpha[0.05] > found.rows
    assert by_alpha[found.best.alpha] == found.rows == found.tried[found.best]


def test_all_are_tried_on_one_trace_and_the_best_on_all():
    rows = {"a": (5, 50), "b": (1, 9), "c": (2, 3), "d": (9, 0)}

    def count(traces, name):
        return sum(rows[name][trace] for trace in traces)

    found = search([0, 1], list(rows), count, finalists=2)
    assert (found.best, found.rows, found.tried) == ("c", 5, {"b": 10, "c": 5})
    assert search([0, 1], list(rows), count).best == "c"
    assert search([0], list(rows), count, finalists=1).best == "b"


def test_a_run_takes_the_words_of_a_schedule():
    schedule = FixedSchedule(fill="degree", period=40, alpha=0.2)
    cache = options.parse(TrainConfig, prog="", args=["parts", *schedule.words()]).cache
    assert (cache.scorer, cache.cache_fill, cache.period, cache.alpha) == (
        "decay",
        "degree",
        40,
        0.2,
    )
    assert str(schedule) == "fill degree, every 40, alpha 0.2"
    assert str(FixedSchedule(fill="degree", period=0)) == "fill degree, never replaced"
    assert str(FixedSchedule(fill="empty", period=2, stale_after=5)).endswith(", stale after 5")


def test_a_share_is_at_least_a_row():
    assert capacity_of(make_trace(num_minibatches=2), 0.0001) == 1
