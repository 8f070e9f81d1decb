"""The cache's kernels against dictionaries and full sorts."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnnflow._kernels import CacheBooks, CacheIndex, copy_rows, pick_worst


def ids_of(*values):
    return np.array(values, dtype=np.int64)


def keys_of(*values):
    return np.array(values, dtype=np.int32)


def priorities_of(*values):
    return np.array(values, dtype=np.uint32)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_keys_follow_a_dictionary(data):
    """Inserting, forgetting and finding, with ids that collide and tables that grow."""
    strides = data.draw(st.sampled_from([1, 1 << 20, 1 << 54, 977]))
    num_vertices = data.draw(st.sampled_from([0, 401])) if strides == 1 else 0
    index = CacheIndex(0, num_vertices)
    known: dict[int, int] = {}
    for _ in range(data.draw(st.integers(1, 6))):
        numbers = data.draw(st.lists(st.integers(0, 400), unique=True, max_size=300))
        ids = np.array(numbers, dtype=np.int64) * strides
        keys, fresh = index.known(ids)
        assert set(ids[fresh].tolist()) == set(ids.tolist()) - set(known)
        for vertex, key in zip(ids.tolist(), keys.tolist(), strict=True):
            assert known.setdefault(vertex, key) == key
        assert len(set(known.values())) == len(known) == index.num_known <= index.num_keys
        assert index.ids_of(keys).tolist() == ids.tolist()
        dropped = [vertex for vertex in known if data.draw(st.booleans())]
        index.forget(np.array([known.pop(vertex) for vertex in dropped], dtype=np.int32))
        assert sorted(index.uncached_keys().tolist()) == sorted(known.values())
    keys, fresh = index.known(np.array(list(known), dtype=np.int64))
    assert keys.tolist() == list(known.values()) and len(fresh) == 0


def worst(cached, arrived, num_drops):
    """Sorts all rows, worst first: on a tie arrived ones, later arrivals, lower slots."""
    rows = [(priority, 1, slot) for slot, priority in enumerate(cached)]
    rows += [(priority, 0, -i) for i, priority in enumerate(arrived)]
    dropped = sorted(rows)[:num_drops]
    kept = set(range(len(arrived))) - {-i for _, is_cached, i in dropped if not is_cached}
    return sorted(slot for _, is_cached, slot in dropped if is_cached), sorted(kept)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    num_cached=st.sampled_from([0, 1, 63, 700, 3000]),
    num_arrived=st.sampled_from([0, 1, 65, 900]),
    largest=st.sampled_from([0, 1, 5, 1000, 2**32 - 1]),
    offset=st.sampled_from([0, 2**31 - 3, 2**32 - 6]),
    share=st.floats(0, 1),
)
def test_the_worst_rows_are_found(seed, num_cached, num_arrived, largest, offset, share):
    """Also with priorities at the ends of their range, and with many ties."""
    generator = np.random.default_rng(seed)

    def draw(num):
        drawn = generator.integers(0, largest, size=num, endpoint=True, dtype=np.uint64)
        return np.minimum(drawn + offset, 2**32 - 1).astype(np.uint32)

    cached, arrived = draw(num_cached), draw(num_arrived)
    num_drops = round(share * (num_cached + num_arrived))
    slots, kept = pick_worst(cached, arrived, num_drops)
    expected = worst(cached.tolist(), arrived.tolist(), num_drops)
    assert (slots.tolist(), kept.tolist()) == expected


def test_large_caches_find_their_threshold_by_sampling():
    generator = np.random.default_rng(0)
    cached = generator.random(100_000).astype(np.float32).view(np.uint32)
    arrived = generator.random(5000).astype(np.float32).view(np.uint32)
    slots, kept = pick_worst(cached, arrived, 5000)
    stay = np.concatenate([np.delete(cached, slots), arrived[kept]])
    both = np.sort(np.concatenate([cached, arrived]))
    assert np.sort(stay).tolist() == both[5000:].tolist()
    with pytest.raises(ValueError, match="at most the number of rows, got 3"):
        pick_worst(priorities_of(1), priorities_of(2), 3)


def by_value(capacity, values, looks_ahead=False):
    ids = np.array(sorted(values), dtype=np.int64)
    floats = np.array([values[vertex] for vertex in sorted(values)], dtype=np.float32)
    return CacheBooks.by_value(capacity, 0, looks_ahead, ids, floats)


def test_a_fraction_of_the_exchange_lets_the_worst_go():
    books = by_value(4, {0: 4, 1: 1, 2: 2, 3: 3, 7: 9, 8: 7, 9: 8})
    books.fill(ids_of(0, 1, 2, 3))
    slots, fetch_ids, chosen, into, num_evicted = books.plan(ids_of(7, 8, 9), None, 0, 0.5)
    assert slots.tolist() == [-1, -1, -1] and fetch_ids.tolist() == [7, 8, 9]
    assert (chosen.tolist(), into.tolist(), num_evicted) == ([0, 2], [1, 2], 2)
    assert sorted(books.cached_ids().tolist()) == [0, 3, 7, 9]


def test_misuse_is_refused():
    index = CacheIndex(2)
    with pytest.raises(ValueError, match="not be negative and be of the graph, got -5"):
        index.known(ids_of(-5))
    with pytest.raises(ValueError, match="be of the graph, got 10"):
        CacheIndex(2, 10).known(ids_of(9, 10))
    assert CacheIndex(2, 10).find_slots(ids_of(9, 10, -1)).tolist() == [-1, -1, -1]
    with pytest.raises(ValueError, match="unique, got 4 twice"):
        index.look_up(ids_of(4, 4), 0)
    with pytest.raises(ValueError, match="must grow, got 0 after 0"):
        index.look_up(ids_of(5), 0)
    keys, _, _ = index.look_up(ids_of(5, 6), 1)
    with pytest.raises(ValueError, match="same length, got 2 and 1"):
        index.assign(keys_of(0), keys, priorities_of(1))
    with pytest.raises(ValueError, match="keys must be in"):
        index.slots_of(keys_of(99))
    with pytest.raises(ValueError, match="free ones in order, got 1"):
        index.assign(keys_of(1), keys[:1], priorities_of(1))
    index.assign(keys_of(0), keys[:1], priorities_of(1))
    with pytest.raises(ValueError, match="not cached can be assigned, got 5"):
        index.assign(keys_of(1), keys[:1], priorities_of(1))
    with pytest.raises(ValueError, match="cannot be forgotten, got 5"):
        index.forget(keys[:1])
    index.forget(keys[1:])
    with pytest.raises(ValueError, match="was forgotten before"):
        index.forget(keys[1:])
    with pytest.raises(ValueError, match="capacity must be in"):
        CacheIndex(-1)


def test_copies_are_independent():
    books = by_value(1, {5: 1}, looks_ahead=True)
    books.announce(ids_of(5))
    twin = copy.deepcopy(books)
    books.plan(ids_of(5), None, 0, 1.0)
    assert (books.num_cached, twin.num_cached) == (1, 0)
    assert (books.num_announced, twin.num_announced) == (0, 1)
    del books
    twin.plan(ids_of(5), None, 0, 1.0)
    assert twin.cached_ids().tolist() == [5]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 12), unique=True), max_size=12), st.integers(0, 5))
def test_next_uses_follow_the_minibatches(minibatches, length):
    """Priorities of all vertices, and how many of those at hand are known to return."""
    values = {vertex: float(vertex) for vertex in range(14)}
    books = by_value(7, values, looks_ahead=True)
    books.fill(ids_of(*range(7)))
    all_keys, _ = books.known(ids_of(*range(14)))
    beyond = np.arange(14).astype(np.float32).view(np.uint32)
    pushed = 0
    for number, vertices in enumerate(minibatches):
        while pushed <= min(number + length, len(minibatches) - 1):
            books.announce(ids_of(*minibatches[pushed]))
            pushed += 1
        rest = minibatches[number + 1 : pushed]
        next_use = {}
        for ahead, others in enumerate(rest):
            for vertex in others:
                next_use.setdefault(vertex, number + 1 + ahead)
        at_hand = set(books.cached_ids().tolist()) | set(vertices)
        assert books.num_known_to_return() == len(at_hand & next_use.keys())
        assert books.num_front_rows == len(vertices)
        assert books.num_announced_rows == sum(map(len, rest)) + len(vertices)
        assert books.num_distinct_announced_rows == len(next_use.keys() | set(vertices))
        books.plan(ids_of(*vertices), None, number, 1.0)
        assert books.num_announced == len(rest)
        assert books.num_distinct_announced_rows == len(next_use)
        expected = [
            2**32 - 1 - next_use[vertex] if vertex in next_use else int(beyond[vertex])
            for vertex in range(14)
        ]
        assert books.priorities(all_keys).tolist() == expected


def test_what_was_announced_has_to_be_asked_for():
    books = by_value(1, {}, looks_ahead=True)
    with pytest.raises(ValueError, match="has 0 rows, got 1"):
        books.plan(ids_of(3), None, 0, 1.0)
    with pytest.raises(ValueError, match="unique, got one twice"):
        by_value(1, {}, looks_ahead=True).announce(ids_of(3, 3))
    books.announce(ids_of(2))
    assert books.plan(ids_of(3), ids_of(2), 0, 1.0) is None and books.num_announced == 1
    with pytest.raises(ValueError, match="has 1 rows, got 2"):
        books.plan(ids_of(3, 4), None, 0, 1.0)
    with pytest.raises(ValueError, match=r"fraction must be in \[0, 1\], got 2"):
        books.plan(ids_of(2), None, 0, 2.0)
    with pytest.raises(ValueError, match="unique, got one twice"):
        by_value(1, {}).plan(ids_of(3, 3), None, 0, 1.0)
    with pytest.raises(ValueError, match="same length, got 1 and 2"):
        CacheBooks.by_value(1, 0, False, ids_of(1), np.ones(2, dtype=np.float32))
    with pytest.raises(ValueError, match="keys must be in"):
        books.priorities(keys_of(99))


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int64"])
def test_rows_are_copied_as_bytes(dtype):
    source = np.arange(24).reshape(6, 4).astype(dtype)
    out = np.zeros((5, 4), dtype=dtype)
    copy_rows(out, keys_of(4, 0), source, keys_of(1, 5))
    assert (out[4] == source[1]).all() and (out[0] == source[5]).all() and not out[1:4].any()
    with pytest.raises(ValueError, match=r"source_rows must be in \[0, 6\), got 6"):
        copy_rows(out, keys_of(0), source, keys_of(6))
    with pytest.raises(ValueError, match="source must have rows of .* bytes like out, got"):
        copy_rows(out, keys_of(0), source.astype(complex), keys_of(0))
