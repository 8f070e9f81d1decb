import numpy as np
import pytest

from gnnflow.cache.fill import cache_capacity, fill_candidates
from gnnflow.cache.halo_cache import HaloCache
from gnnflow.cache.scorers import DecayScorer, FrequencyScorer, LookaheadScorer, LruScorer
from gnnflow.cache.step import CacheCounts
from gnnflow.cache.vertex_values import VertexValues
from gnnflow.errors import ConfigError, DataError


def ids_of(*values):
    return np.array(values, dtype=np.int64)


def rows_of(ids, dtype="float32"):
    return (np.asarray(ids)[:, None] * 10 + np.arange(3)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint16"])
def test_rows_of_any_type_come_back_as_they_came(dtype):
    cache = HaloCache(2, LruScorer(), row_shape=(3,), dtype=dtype)
    step = cache.plan(ids_of(4, 7, 1))
    assert step.fetch_ids.tolist() == [4, 7, 1] and step.rows_hit == 0
    cache.commit(step, rows_of(step.fetch_ids, dtype))
    step = cache.plan(ids_of(7, 1, 4))
    hits = step.slots >= 0
    assert ids_of(7, 1, 4)[hits].tolist() == [7, 4]  # of equal rows the first ones stay
    assert (cache.rows_for(step)[step.slots[hits]] == rows_of([7, 4], dtype)).all()
    assert cache.rows_bytes == cache.rows.nbytes == 2 * 3 * np.dtype(dtype).itemsize


def test_one_number_per_vertex():
    cache = HaloCache(1, LruScorer(), dtype="int64")
    step = cache.plan(ids_of(5))
    cache.commit(step, np.array([50]))
    assert cache.rows.tolist() == [50]


def test_steps_are_committed_in_their_order():
    cache = HaloCache(2, LruScorer(), row_shape=(3,), dtype="float32")
    first, second = cache.plan(ids_of(1)), cache.plan(ids_of(1))
    assert second.rows_hit == 1  # its row is still on its way
    with pytest.raises(ValueError, match="turn of 0, got 1"):
        cache.rows_for(second)
    with pytest.raises(ValueError, match="turn of 0, got 1"):
        cache.commit(second)
    with pytest.raises(ValueError, match="needs the fetched ones"):
        cache.commit(first)
    cache.commit(first, rows_of([1]))
    assert (cache.rows_for(second)[second.slots] == rows_of([1])).all()
    cache.commit(second, rows_of([]))
    with pytest.raises(ValueError, match="turn of 2, got 0"):
        cache.commit(first, rows_of([1]))


def test_counts_are_of_a_window():
    cache = HaloCache(2, LruScorer())
    cache.fill(VertexValues(ids_of(1, 2), np.ones(2, dtype=np.float32)))
    cache.plan(ids_of(1, 3))
    before = cache.counts
    assert (before.hit_rate, before.rows_fetched) == (0.5, 3)
    cache.plan(ids_of(3, 1, 4))
    window = cache.counts - before
    assert window == CacheCounts(
        num_minibatches=1, rows_asked=3, rows_hit=2, num_admitted=0, num_evicted=0
    )
    assert CacheCounts().hit_rate is None
    assert cache.num_unused_since(1) == 0 and cache.num_unused_since(2) == 2


def test_announced_ids_must_be_asked_for():
    cache = HaloCache(2, LookaheadScorer(LruScorer()))
    cache.announce(ids_of(1, 2))
    with pytest.raises(ValueError, match="minibatch 0 asks for other rows"):
        cache.plan(ids_of(1, 3))
    cache = HaloCache(2, LookaheadScorer(LruScorer()))
    assert cache.plan(ids_of(1, 3)).rows_missed == 2  # announced on the spot


def test_minibatches_that_will_not_come_are_retracted():
    cache = HaloCache(1, LookaheadScorer(LruScorer()))
    other = HaloCache(1, LookaheadScorer(LruScorer()))
    for ids in (ids_of(1), ids_of(2), ids_of(1)):
        cache.announce(ids)
    assert cache.plan(ids_of(1)).rows_missed == other.plan(ids_of(1)).rows_missed
    cache.retract()
    books = cache.scorer.books
    assert books.num_announced == books.num_announced_rows == 0
    assert books.num_distinct_announced_rows == 0
    for ids in (ids_of(2), ids_of(1), ids_of(3), ids_of(1)):
        assert cache.plan(ids).rows_hit == other.plan(ids).rows_hit
        assert cache.cached_ids().tolist() == other.cached_ids().tolist()
    cache.retract()


def test_ids_are_distinct():
    for scorer in (LruScorer(), LookaheadScorer(LruScorer())):
        with pytest.raises(ValueError, match="unique"):
            HaloCache(2, scorer).plan(ids_of(1, 1))


def test_an_empty_budget_and_empty_minibatches():
    for scorer in (LruScorer(), LookaheadScorer(FrequencyScorer()), DecayScorer()):
        cache = HaloCache(0, scorer, row_shape=(3,), dtype="float32")
        cache.fill(VertexValues(ids_of(1), np.ones(1, dtype=np.float32)), rows_of)
        for ids in (ids_of(), ids_of(3, 4), ids_of()):
            step = cache.plan(ids)
            assert step.rows_missed == len(ids) and not len(step.admitted)
            cache.commit(step, rows_of(step.fetch_ids))


def test_forgetting_changes_no_decision(monkeypatch):
    """Vertices that are neither cached nor announced are forgotten when there are too many."""
    generator = np.random.default_rng(0)
    trace = [generator.choice(2000, 100, replace=False).astype(np.int64) for _ in range(200)]

    def counts(limit):
        monkeypatch.setattr("gnnflow.cache.halo_cache._ALWAYS_KNOWN", limit)
        cache = HaloCache(50, LookaheadScorer(LruScorer()))
        steps = []
        for number, ids in enumerate(trace):
            if number == 0:
                cache.announce(ids)
            if number + 1 < len(trace):
                cache.announce(trace[number + 1])
            step = cache.plan(ids)
            steps.append((step.rows_hit, step.num_evicted, sorted(step.admitted.tolist())))
        return steps, cache._index.num_known

    with_all, num_known = counts(1 << 20)
    forgetful, num_left = counts(0)
    assert with_all == forgetful
    assert num_left < num_known / 3


def test_fills():
    halo, degree = ids_of(3, 5, 9), np.array([2, 0, 7])
    cache = HaloCache(2, LruScorer(), row_shape=(3,), dtype="float32")
    candidates = fill_candidates("degree", halo, degree)
    with pytest.raises(ValueError, match="needs a fetch function"):
        HaloCache(2, LruScorer(), row_shape=(3,), dtype="float32").fill(candidates)
    assert cache.fill(candidates, rows_of) == 2
    assert set(cache.cached_ids().tolist()) == {9, 3}
    assert (cache.rows[cache.lookup(ids_of(9, 3))] == rows_of([9, 3])).all()
    assert cache.counts.rows_filled == 2
    assert len(fill_candidates("empty", halo, degree)) == 0
    drawn = {tuple(fill_candidates("random", halo, degree, seed=s).best(2)) for s in range(30)}
    assert len(drawn) == 6
    vip = VertexValues(ids_of(5), np.ones(1, dtype=np.float32))
    assert fill_candidates("vip", halo, degree, vip=vip) is vip
    with pytest.raises(ConfigError, match="use degree instead"):
        fill_candidates("vip", halo, degree)


def test_budgets():
    assert cache_capacity(fraction=0.25, max_bytes=None, num_halo=99, row_bytes=4) == 24
    assert cache_capacity(fraction=None, max_bytes=1000, num_halo=9, row_bytes=300) == 3
    for fraction, max_bytes, message in (
        (1.5, None, r"in \[0, 1\], got 1.5; use cache_bytes"),
        (None, -1, "not be negative, got -1"),
        (None, None, "either cache_fraction or cache_bytes"),
        (0.5, 5, "either cache_fraction or cache_bytes"),
    ):
        with pytest.raises(ConfigError, match=message):
            cache_capacity(fraction=fraction, max_bytes=max_bytes, num_halo=9, row_bytes=4)


def test_vertex_values():
    values = VertexValues(ids_of(2, 4, 6, 8), np.array([1, 0, 3, 3], dtype=np.float32))
    assert values.at(ids_of(9, 8, 1, 2, 5)).tolist() == [0, 3, 0, 1, 0]
    assert values.best(9).tolist() == [6, 8, 2]
    assert values.best(1).tolist() == [6]
    assert VertexValues(ids_of(), np.zeros(0, dtype=np.float32)).at(ids_of(1)).tolist() == [0]
    for ids, numbers, message in (
        (ids_of(2, 1), [1, 1], "ascending"),
        (ids_of(1, 1), [1, 1], "ascending"),
        (ids_of(1), [-1], "not negative"),
        (ids_of(1), [float("nan")], "finite"),
        (ids_of(1), [1, 2], "one value per id"),
    ):
        with pytest.raises(DataError, match=message):
            VertexValues(ids, np.array(numbers, dtype=np.float32))
