"""The optimum against a search over all that a cache can do."""

from functools import cache
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trace_maker import make_minibatches

from gnnflow.cache import belady_hits


def most_hits(minibatches, capacity):
    """Tries every set of rows that could be kept after every minibatch."""

    @cache
    def best(number, cached):
        if number == len(minibatches):
            return 0
        wanted = minibatches[number]
        candidates = sorted(cached | wanted)
        size = min(capacity, len(candidates))
        return len(cached & wanted) + max(
            best(number + 1, frozenset(kept)) for kept in combinations(candidates, size)
        )

    return best(0, frozenset())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.frozensets(st.integers(0, 5), max_size=4), max_size=6),
    st.integers(0, 3),
)
def test_no_cache_does_better(minibatches, capacity):
    arrays = [np.array(sorted(wanted), dtype=np.int64) for wanted in minibatches]
    assert belady_hits(arrays, capacity).sum() == most_hits(tuple(minibatches), capacity)


def test_hits_by_minibatch():
    minibatches = [np.array(ids, dtype=np.int64) for ids in ([7, 8], [9, 7], [8, 9], [7])]
    assert belady_hits(minibatches, 1).tolist() == [0, 1, 1, 0]
    assert belady_hits(minibatches, 2).tolist() == [0, 1, 2, 0]
    assert belady_hits(minibatches, 9).tolist() == [0, 1, 2, 1]
    assert belady_hits([], 3).tolist() == []


@pytest.mark.parametrize("capacity", [0, 1, 40, 1000])
def test_ends_of_the_range(capacity):
    minibatches = list(make_minibatches(0))
    hits = belady_hits(minibatches, capacity)
    requested = sum(len(ids) for ids in minibatches)
    distinct = len(np.unique(np.concatenate(minibatches)))
    if capacity == 0:
        assert not hits.any()
    if capacity == 1000:
        assert hits.sum() == requested - distinct
    assert (hits <= [len(ids) for ids in minibatches]).all()
