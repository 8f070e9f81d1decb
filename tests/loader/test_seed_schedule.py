"""Splitting seeds over steps: nothing lost, nothing twice, the same whenever it is asked."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gnnflow
from gnnflow.errors import ConfigError, DataError
from gnnflow.loader import SeedSchedule


class FakeContext:
    """A rank of a job whose other ranks have already said what they hold."""

    def __init__(self, rank, gathered):
        self.rank = rank
        self.num_ranks = len(gathered)
        self._gathered = gathered

    def allgather_array(self, values):
        assert np.array_equal(self._gathered[self.rank], values)
        return list(self._gathered)


def even_schedules(counts, batch_size, **options):
    gathered = [np.array([count]) for count in counts]
    first = np.concatenate([[0], np.cumsum(counts)])
    return [
        SeedSchedule.split_evenly(
            np.arange(first[rank], first[rank + 1]),
            FakeContext(rank, gathered),
            batch_size=batch_size,
            **options,
        )
        for rank in range(len(counts))
    ]


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(0, 60), min_size=1, max_size=4),
    batch_size=st.integers(1, 20),
    epoch=st.integers(0, 3),
    seed=st.integers(0, 2**63),
    shuffle=st.booleans(),
)
def test_every_seed_comes_once_an_epoch(counts, batch_size, epoch, seed, shuffle):
    schedules = even_schedules(counts, batch_size, seed=seed, shuffle=shuffle)
    num_steps = -(-sum(counts) // (len(counts) * batch_size))
    seen = []
    for schedule in schedules:
        assert schedule.num_steps == num_steps
        batches = [schedule.batch(epoch, step) for step in range(num_steps)]
        sizes = [len(batch.seeds) for batch in batches]
        assert not sizes or max(sizes) - min(sizes) <= 1
        assert schedule.max_batch_size == max(sizes, default=0)
        seen += [vertex for batch in batches for vertex in batch.seeds.tolist()]
    assert sorted(seen) == list(range(sum(counts)))


@settings(max_examples=30, deadline=None)
@given(counts=st.lists(st.integers(0, 60), min_size=1, max_size=4), batch_size=st.integers(1, 20))
def test_shares_add_up_to_one(counts, batch_size):
    schedules = even_schedules(counts, batch_size)
    for step in range(schedules[0].num_steps):
        batches = [schedule.batch(0, step) for schedule in schedules]
        assert {batch.num_job_seeds for batch in batches} == {
            sum(len(batch.seeds) for batch in batches)
        }
        assert sum(batch.weight for batch in batches) == pytest.approx(1.0)
        assert [batch.minibatch for batch in batches] == [
            step * len(counts) + rank for rank in range(len(counts))
        ]


def test_order_depends_on_seed_epoch_and_rank_alone():
    first, second = even_schedules([50, 50], 50, seed=3)
    again = even_schedules([50, 50], 50, seed=3)[0]
    other_seed = even_schedules([50, 50], 50, seed=4)[0]
    order = first.batch(5, 0).seeds.copy()
    first.batch(6, 0), first.batch(7, 0)
    assert np.array_equal(first.batch(5, 0).seeds, order)
    assert np.array_equal(again.batch(5, 0).seeds, order)
    assert not np.array_equal(first.batch(6, 0).seeds, order)
    assert not np.array_equal(other_seed.batch(5, 0).seeds, order)
    assert not np.array_equal(second.batch(5, 0).seeds - 50, order)


def test_order_is_fixed_for_good():
    """A change of these numbers changes the loss curve of every run that is resumed."""
    [schedule] = even_schedules([8], 8, seed=1)
    assert schedule.batch(0, 0).seeds.tolist() == [3, 5, 2, 7, 0, 6, 1, 4]


def test_batches_may_be_asked_from_any_thread():
    [schedule] = even_schedules([1000], 10, seed=2)
    expected = [[schedule.batch(epoch, step).seeds for step in range(100)] for epoch in range(4)]
    wrong = []

    def ask(epoch):
        wrong.extend(
            step
            for step in range(100)
            if not np.array_equal(schedule.batch(epoch, step).seeds, expected[epoch][step])
        )

    threads = [threading.Thread(target=ask, args=(epoch,)) for epoch in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_without_shuffling_seeds_come_as_given():
    [schedule] = even_schedules([7], 3, shuffle=False)
    batches = [schedule.batch(9, step) for step in range(3)]
    assert [batch.seeds.tolist() for batch in batches] == [[0, 1], [2, 3], [4, 5, 6]]
    assert [batch.input_id.tolist() for batch in batches] == [[0, 1], [2, 3], [4, 5, 6]]


def test_explicit_batches():
    batches = [[[4, 2], []], [[7], [9, 8]]]
    sizes = [np.array([2, 0]), np.array([1, 2])]
    first, second = (
        SeedSchedule.from_batches(batches[rank], FakeContext(rank, sizes)) for rank in range(2)
    )
    assert first.num_steps == second.num_steps == 2
    assert first.batch(3, 0).seeds.tolist() == [4, 2]
    assert first.batch(3, 1).seeds.tolist() == []
    assert second.batch(0, 1).seeds.tolist() == [9, 8]
    assert second.batch(0, 1).input_id.tolist() == [1, 2]
    assert (first.batch(0, 0).weight, second.batch(0, 0).weight) == (2 / 3, 1 / 3)
    assert (first.batch(0, 1).weight, second.batch(0, 1).weight) == (0.0, 1.0)


def test_no_seeds_at_all():
    [schedule] = even_schedules([0], 4)
    assert schedule.num_steps == 0
    with pytest.raises(IndexError, match=r"step must be in \[0, 0\), got 0"):
        schedule.batch(0, 0)


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ([3, 1, 3], "vertex 3 appears more than once"),
        ([[1, 2]], r"got shape \[1, 2\]"),
        ([0.5], "of float64"),
    ],
)
def test_bad_seeds(seeds, message):
    with gnnflow.init() as ctx, pytest.raises(DataError, match=message):
        SeedSchedule.split_evenly(seeds, ctx, batch_size=1)


def test_bad_batch_size():
    with gnnflow.init() as ctx, pytest.raises(ConfigError, match="at least 1, got 0"):
        SeedSchedule.split_evenly([1], ctx, batch_size=0)


def test_different_numbers_of_batches():
    ctx = FakeContext(0, [np.array([1]), np.array([1, 1])])
    with pytest.raises(DataError, match=r"same number of seed batches, got \[1, 2\]"):
        SeedSchedule.from_batches([[1]], ctx)
