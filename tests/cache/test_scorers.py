"""Each scorer in the live cache against plain Python, minibatch by minibatch."""

import numpy as np
import plain_cache
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnnflow.cache.halo_cache import HaloCache
from gnnflow.cache.scorers import (
    SCORERS,
    DecayScorer,
    FrequencyScorer,
    LookaheadScorer,
    LruScorer,
    ScorerOptions,
    VipScorer,
    make_scorer,
)
from gnnflow.cache.vertex_values import VertexValues
from gnnflow.errors import ConfigError

NUM_VERTICES = 60


def random_trace(seed, num_minibatches, num_vertices=NUM_VERTICES):
    """Minibatches of distinct ids, some asked for much more often than others."""
    generator = np.random.default_rng(seed)
    weights = generator.random(num_vertices) ** 3
    for _ in range(num_minibatches):
        wanted = generator.random(num_vertices) < weights
        ids = generator.permutation(np.flatnonzero(wanted)) * 7 + 3
        yield ids.astype(np.int64)


def random_values(seed, num_vertices=NUM_VERTICES):
    generator = np.random.default_rng(seed)
    values = np.round(generator.random(num_vertices), 1).astype(np.float32)  # with ties and zeros
    return VertexValues(np.arange(num_vertices, dtype=np.int64) * 7 + 3, values)


def as_dict(values):
    return dict(zip(values.ids.tolist(), values.values.tolist(), strict=True))


def pairs(capacity, seed):
    """Every scorer with its plain twin."""
    vip = random_values(seed + 1)
    probabilities = as_dict(vip)
    plain = plain_cache
    yield "lru", LruScorer(), plain.PlainCache(capacity, plain.PlainLru())
    yield "vip", VipScorer(vip), plain.PlainCache(capacity, plain.PlainVip(probabilities))
    # Powers of two keep the counts of both sides exact.
    yield (
        "frequency",
        FrequencyScorer(factor=0.5),
        plain.PlainCache(capacity, plain.PlainFrequency(0.5)),
    )
    yield (
        "frequency with prior",
        FrequencyScorer(factor=0.5, prior=vip),
        plain.PlainCache(capacity, plain.PlainFrequency(0.5, probabilities)),
    )
    yield (
        "lookahead, vip",
        LookaheadScorer(VipScorer(vip)),
        plain.PlainCache(capacity, plain.PlainLookahead(plain.PlainVip(probabilities))),
    )
    yield (
        "lookahead, frequency",
        LookaheadScorer(FrequencyScorer(factor=0.5)),
        plain.PlainCache(capacity, plain.PlainLookahead(plain.PlainFrequency(0.5))),
    )
    for period in (1, 3, 7):
        yield (
            f"decay {period}",
            DecayScorer(alpha=0.5, period=period),
            plain.PlainDecay(capacity, 0.5, period),
        )


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    capacity=st.integers(0, NUM_VERTICES + 5),
    window=st.integers(0, 12),
    period=st.integers(1, 4),
    fraction=st.sampled_from([0.1, 0.5, 1.0]),
    filled=st.booleans(),
)
def test_agrees_with_plain_python(seed, capacity, window, period, fraction, filled):
    trace = list(random_trace(seed, 90))
    start = random_values(seed + 2)
    for name, scorer, plain in pairs(capacity, seed):
        cache = HaloCache(capacity, scorer)
        if filled:
            cache.fill(start)
            plain.fill(as_dict(start))
            assert set(cache.cached_ids().tolist()) == plain.cached, name
        announced = 0
        for number, ids in enumerate(trace):
            if scorer.looks_ahead:
                while announced <= min(number + window, len(trace) - 1):
                    cache.announce(trace[announced])
                    plain.scorer.announce(trace[announced].tolist())
                    announced += 1
            before = set(cache.cached_ids().tolist())
            replace = (number + 1) % period == 0
            step = cache.plan(ids, replace=replace, fraction=fraction)
            share = fraction if replace else 0.0
            hits, misses, fill, entering, leaving = plain.plan(ids.tolist(), share)
            after = set(cache.cached_ids().tolist())
            assert after == plain.cached, (name, number)
            assert set(ids[step.slots >= 0].tolist()) == hits, (name, number)
            assert step.fetch_ids[: step.rows_missed].tolist() == [v for v in ids if v in misses]
            assert set(step.fetch_ids[step.rows_missed :].tolist()) == fill, (name, number)
            assert set(step.fetch_ids[step.admitted].tolist()) == entering, (name, number)
            assert step.num_evicted == len(leaving) == len(before - after)
            assert len(set(step.fetch_ids.tolist())) == len(step.fetch_ids), "fetched twice"


def test_frequency_order_survives_the_change_of_unit():
    # 0.98 ** n leaves the range after some 2200 minibatches; compare with exact logarithms.
    cache = HaloCache(2, FrequencyScorer(factor=0.98))
    for _ in range(2500):
        cache.plan(np.array([1, 2], dtype=np.int64))
    cache.plan(np.array([3], dtype=np.int64))
    assert set(cache.cached_ids().tolist()) == {1, 2}
    for _ in range(400):
        cache.plan(np.array([3, 4], dtype=np.int64))
    assert set(cache.cached_ids().tolist()) == {3, 4}


def test_decay_by_hand():
    """Score 1 on entry at the start, 0.9 per unused minibatch, stale below 0.9 ** 2."""
    cache = HaloCache(2, DecayScorer(alpha=0.1, period=2))
    cache.fill(VertexValues(np.array([1, 2]), np.array([2, 1], dtype=np.float32)))

    def plan(*ids):
        step = cache.plan(np.array(ids, dtype=np.int64))
        return step.rows_hit, step.rows_filled, set(cache.cached_ids().tolist())

    assert plan(1, 5) == (1, 0, {1, 2})  # scores 1, 0.9; misses of 5: 1
    assert plan(1, 5, 6) == (2 - 1, 0, {1, 2})  # scores 1, 0.81: not below the threshold
    assert plan(1, 6) == (1, 1, {1, 5})  # 2 is stale; of the missed ones 5 has the smaller id
    assert plan(5) == (1, 0, {1, 5})  # 5 came in with score 2
    assert plan(6) == (0, 0, {1, 5})  # 1 has 0.81, 5 has 1.8
    assert plan(2) == (0, 1, {6, 5})  # 1 has 0.729; 6 was missed three times


def test_all_scorers_are_known_by_name():
    vip = random_values(0)
    for name in SCORERS:
        scorer = make_scorer(name, ScorerOptions(vip=vip))
        assert scorer.name == name
    with pytest.raises(ConfigError, match="did you mean 'lookahead'.*known: decay, frequency"):
        make_scorer("lookahed")
    with pytest.raises(ConfigError, match="use scorer frequency"):
        make_scorer("vip")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DecayScorer(alpha=1.0), r"alpha .* in \(0, 1\), got 1.0"),
        (lambda: DecayScorer(period=0), "at least 1, got 0"),
        (lambda: FrequencyScorer(factor=0.0), r"in \(0, 1\], got 0.0"),
    ],
)
def test_bad_options_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
