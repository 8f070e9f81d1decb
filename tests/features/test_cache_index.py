"""The cache's kernels against dictionaries and full sorts."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnnflow._kernels import CacheIndex, NextUseWindow, copy_rows


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


def best(slots, cached, arrived, capacity):
    """Sorts all rows: by priority, then cached before arrived, later slots, earlier arrivals."""
    rows = [(cached[vertex], 1, slot, vertex) for slot, vertex in enumerate(slots)]
    rows += [(priority, 0, -i, vertex) for i, (vertex, priority) in enumerate(arrived.items())]
    return {vertex for _, _, _, vertex in sorted(rows, reverse=True)[:capacity]}


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    capacity=st.integers(1, 3000),
    largest=st.sampled_from([0, 1, 5, 1000, 2**32 - 1]),
    offset=st.sampled_from([0, 2**31 - 3, 2**32 - 6]),
)
def test_the_best_rows_stay(seed, capacity, largest, offset):
    """Also with priorities at the ends of their range, and with many ties."""
    generator = np.random.default_rng(seed)
    index = CacheIndex(capacity)
    cached: dict[int, int] = {}
    for minibatch in range(6):
        ids = generator.choice(4 * capacity, size=min(4 * capacity, 900), replace=False)
        ids = ids.astype(np.int64)
        drawn = generator.integers(0, largest, size=len(ids), endpoint=True, dtype=np.uint64)
        priorities = np.minimum(drawn + offset, 2**32 - 1).astype(np.uint32)
        keys, slots, _ = index.look_up(ids, minibatch)
        assert [vertex in cached for vertex in ids.tolist()] == (slots >= 0).tolist()
        by_id = dict(zip(ids.tolist(), priorities.tolist(), strict=True))
        cached |= {vertex: by_id[vertex] for vertex in cached.keys() & by_id.keys()}
        arrived = {vertex: by_id[vertex] for vertex in by_id if vertex not in cached}
        kept = best(index.cached_ids().tolist(), cached, arrived, capacity)
        chosen, chosen_slots, num_evicted = index.replace(keys, slots, priorities, 1.0)
        admitted = ids[slots < 0][chosen]
        assert set(admitted.tolist()) == kept & arrived.keys()
        assert num_evicted == len(cached.keys() - kept)
        cached = {v: p for v, p in (cached | arrived).items() if v in kept}
        assert set(index.cached_ids().tolist()) == kept
        assert index.find_slots(admitted).tolist() == chosen_slots.tolist()
    assert (index.slots_of(index.cached_keys()) == np.arange(index.num_cached)).all()


def test_large_caches_find_their_threshold_by_sampling():
    generator = np.random.default_rng(0)
    capacity = 100_000
    index = CacheIndex(capacity)
    keys, _ = index.known(np.arange(capacity, dtype=np.int64))
    cached = generator.random(capacity).astype(np.float32).view(np.uint32)
    index.assign(np.arange(capacity, dtype=np.int32), keys, cached)
    ids = np.arange(capacity, capacity + 5000, dtype=np.int64)
    arrived = generator.random(5000).astype(np.float32).view(np.uint32)
    keys, slots, _ = index.look_up(ids, 0)
    index.replace(keys, slots, arrived, 1.0)
    both = np.concatenate([cached, arrived])
    kept = both[np.argsort(both)[5000:]]
    assert np.sort(both[index.cached_ids()]).tolist() == np.sort(kept).tolist()


def test_a_fraction_of_the_exchange_lets_the_worst_go():
    index = CacheIndex(4)
    keys, _ = index.known(ids_of(0, 1, 2, 3))
    index.assign(keys_of(0, 1, 2, 3), keys, priorities_of(4, 1, 2, 3))
    keys, slots, _ = index.look_up(ids_of(7, 8, 9), 0)
    chosen, into, num_evicted = index.replace(keys, slots, priorities_of(9, 7, 8), 0.5)
    assert (chosen.tolist(), into.tolist(), num_evicted) == ([0, 2], [1, 2], 2)
    assert sorted(index.cached_ids().tolist()) == [0, 3, 7, 9]


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
    keys, slots, _ = index.look_up(ids_of(5, 6), 1)
    with pytest.raises(ValueError, match=r"fraction must be in \[0, 1\], got 2"):
        index.replace(keys, slots, priorities_of(1, 1), 2.0)
    with pytest.raises(ValueError, match="same length, got 2 and 1"):
        index.replace(keys, slots, priorities_of(1), 1.0)
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
    index = CacheIndex(1)
    keys, slots, _ = index.look_up(ids_of(5), 0)
    twin = copy.deepcopy(index)
    index.replace(keys, slots, priorities_of(1), 1.0)
    assert (index.num_cached, twin.num_cached) == (1, 0)
    window = NextUseWindow()
    window.push(keys, index)
    other = copy.deepcopy(window)
    window.pop(keys, priorities_of(0))
    assert (window.num_minibatches, other.num_minibatches) == (0, 1)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 12), unique=True), max_size=12), st.integers(0, 5))
def test_next_uses_follow_the_minibatches(minibatches, length):
    index = CacheIndex(7)
    all_keys, _ = index.known(np.arange(14, dtype=np.int64))
    index.assign(np.arange(7, dtype=np.int32), all_keys[:7], np.arange(7, dtype=np.uint32))
    window = NextUseWindow()
    pushed = 0
    for number, keys in enumerate(minibatches):
        while pushed <= min(number + length, len(minibatches) - 1):
            window.push(keys_of(*minibatches[pushed]), index)
            pushed += 1
        assert window.first_minibatch == number
        rest = minibatches[number + 1 : pushed]
        expected = []
        for key in range(14):
            following = [number + 1 + i for i, others in enumerate(rest) if key in others]
            expected.append(following[0] if following else 2**32 - 1)
        again = sum(expected[key] < 2**32 - 1 for key in keys)
        assert window.num_front_rows_used_again() == again
        assert window.num_front_rows == len(keys)
        in_front = set(keys)
        returning = [key for key in range(7) if expected[key] < 2**32 - 1]
        at_hand = [key for key in returning if key not in in_front]
        assert index.count_at_least(1 << 31, 2**32 - 1 - number) == len(at_hand)
        priorities = window.pop(keys_of(*keys), priorities_of(*keys))
        for key, priority in zip(keys, priorities.tolist(), strict=True):
            known = expected[key] < 2**32 - 1
            assert priority == (2**32 - 1 - expected[key] if known else key)
        index.set_priorities(keys_of(*keys), priorities)
        assert window.next_uses(np.arange(14, dtype=np.int32)).tolist() == expected
        assert window.num_rows == sum(map(len, rest))
        assert window.num_distinct_rows == len({key for others in rest for key in others})


def test_window_misuse_is_refused():
    index = CacheIndex(1)
    index.known(ids_of(*range(9)))
    window = NextUseWindow()
    with pytest.raises(ValueError, match="has 0 rows, got 1"):
        window.pop(keys_of(3), priorities_of(0))
    with pytest.raises(ValueError, match="unique, got 3 twice"):
        window.push(keys_of(3, 3), index)
    with pytest.raises(ValueError, match=r"keys must be in \[0, 9\), got 9"):
        NextUseWindow().push(keys_of(9), index)
    window = NextUseWindow()
    window.push(keys_of(2), index)
    for wrong in (-1, 99):
        with pytest.raises(ValueError, match="those of the oldest announced minibatch"):
            window.pop(keys_of(wrong), priorities_of(0))


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int64"])
def test_rows_are_copied_as_bytes(dtype):
    source = np.arange(24).reshape(6, 4).astype(dtype)
    out = np.zeros((5, 4), dtype=dtype)
    copy_rows(out, keys_of(4, 0), source, keys_of(1, 5))
    assert (out[4] == source[1]).all() and (out[0] == source[5]).all() and not out[1:4].any()
    with pytest.raises(ValueError, match=r"source_rows must be in \[0, 6\), got 6"):
        copy_rows(out, keys_of(0), source, keys_of(6))
    with pytest.raises(ValueError, match="rows of the same size"):
        copy_rows(out, keys_of(0), source.astype(complex), keys_of(0))
