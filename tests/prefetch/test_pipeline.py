"""The pipeline with stages that only count: order, bounds, errors and early ends."""

import threading
import time

import pytest

from gnnflow.prefetch import Pipeline
from gnnflow.prefetch.pipeline import Channel, ChannelClosed

WAYS = [(0, 1), (0, 3), (1, 1), (2, 1), (4, 1), (1, 3), (3, 3), (2, 5)]


class Broken(Exception):
    """Raised by a stage on purpose."""


class CountingStages:
    """Passes numbers on, and notes what was asked of it; a window of fixed length."""

    def __init__(self, window=0, fail=None):
        self.window = window
        self.fail = fail
        self.announced = []
        self.known_when_planned = []
        self.exchanges = []
        self.sampled = []
        self.completed = []
        self.abandoned = []
        self.retracted = False
        self.num_early = 0
        self.num_handed_over = 0
        self.most_under_way = 0

    def sample(self, seeds):
        for number in seeds:
            self.check("sample", number)
        self.sampled.append(len(seeds))
        return list(seeds)

    def wants_more(self):
        return len(self.announced) <= len(self.known_when_planned) + self.window

    def may_ask_early(self):
        return len(asked(self)) - len(self.completed) < self.num_early

    def announce(self, number):
        self.check("announce", number)
        self.announced.append(number)

    def plan(self, number):
        self.check("plan", number)
        self.known_when_planned.append(len(self.announced))
        return number

    def ask(self, numbers):
        self.exchanges.append(list(numbers))
        num_asked = sum(map(len, self.exchanges))
        self.most_under_way = max(self.most_under_way, num_asked - self.num_handed_over)

    def complete(self, number):
        self.check("complete", number)
        self.completed.append(number)
        return number * 10

    def abandon(self, number):
        self.abandoned.append(number)

    def retract(self):
        self.retracted = True

    def check(self, stage, number):
        if self.fail == (stage, number):
            raise Broken(f"{stage} of {number}")


def own_threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("gnnflow-")]


def asked(stages):
    return [number for exchange in stages.exchanges for number in exchange]


@pytest.mark.parametrize(("depth", "exchange_every"), WAYS)
@pytest.mark.parametrize("window", [0, 1, 7, 100])
def test_all_in_order_and_planned_the_same_way(depth, exchange_every, window):
    stages = CountingStages(window)
    pipeline = Pipeline(stages, range(40), depth=depth, exchange_every=exchange_every)
    for number, ready in enumerate(pipeline):
        assert ready == number * 10
        stages.num_handed_over += 1
    assert stages.num_handed_over == 40
    assert asked(stages) == stages.completed == list(range(40))
    # The window is the same whatever the threads do, cut only by the end.
    assert stages.known_when_planned == [min(number + 1 + window, 40) for number in range(40)]
    assert {len(exchange) for exchange in stages.exchanges[:-1]} <= {exchange_every}
    # One may be asked for between the end of one step and the count of it here.
    assert stages.most_under_way <= max(depth + exchange_every - 1, exchange_every) + 1
    assert pipeline.closed and not own_threads()
    assert list(pipeline) == []


@pytest.mark.parametrize(
    ("depth", "exchange_every", "groups"),
    [
        (0, 1, [1] * 12),
        (1, 1, [1] * 12),
        (2, 1, [1, 2, 2, 2, 2, 2, 1]),
        (4, 1, [1, 2, 4, 4, 1]),
        (4, 3, [3, 3, 4, 2]),
        (2, 5, [5, 5, 2]),
    ],
)
def test_samples_together_as_many_as_wait_anyway(depth, exchange_every, groups):
    stages = CountingStages()
    pipeline = Pipeline(stages, range(12), depth=depth, exchange_every=exchange_every)
    assert list(pipeline) == [number * 10 for number in range(12)]
    assert stages.sampled == groups
    assert {len(exchange) for exchange in stages.exchanges[:-1]} <= {exchange_every}


@pytest.mark.parametrize(("depth", "exchange_every"), WAYS)
@pytest.mark.parametrize("stage", ["sample", "announce", "plan", "complete"])
def test_an_error_surfaces_and_ends_the_threads(depth, exchange_every, stage):
    stages = CountingStages(window=3, fail=(stage, 11))
    pipeline = Pipeline(stages, range(40), depth=depth, exchange_every=exchange_every)
    with pytest.raises(Broken, match=f"^{stage} of 11") as caught:
        for ready in pipeline:
            assert ready < 110
    notes = getattr(caught.value, "__notes__", [])
    assert depth == 0 or "prefetch pipeline" in notes[0]
    assert stages.completed == list(range(len(stages.completed)))
    assert stages.completed + stages.abandoned == asked(stages)
    assert stages.retracted and pipeline.closed and not own_threads()


@pytest.mark.parametrize(("depth", "exchange_every"), WAYS)
def test_an_early_end_waits_for_what_was_asked(depth, exchange_every):
    for num_taken in (0, 1, 9):
        stages = CountingStages(window=5)
        pipeline = Pipeline(stages, range(1000), depth=depth, exchange_every=exchange_every)
        taken = [next(pipeline) for _ in range(num_taken)]
        pipeline.close()
        pipeline.close()
        assert taken == [number * 10 for number in range(num_taken)]
        assert not own_threads()
        assert stages.completed + stages.abandoned == asked(stages)
        assert len(asked(stages)) <= num_taken + depth + 2 * exchange_every
        assert stages.retracted
        assert list(pipeline) == []


def test_an_error_of_the_seeds_surfaces():
    def seeds():
        yield 0
        raise Broken("no more")

    for depth in (0, 2):
        pipeline = Pipeline(CountingStages(), seeds(), depth=depth)
        assert next(pipeline) == 0
        with pytest.raises(Broken, match="no more"):
            next(pipeline)


def test_nothing_to_do():
    for depth in (0, 2):
        assert list(Pipeline(CountingStages(), [], depth=depth)) == []


def test_a_channel_ends_for_those_who_wait():
    channel = Channel(1)
    channel.put(1)
    ended = []

    def put():
        try:
            channel.put(2)
        except ChannelClosed:
            ended.append("put")

    thread = threading.Thread(target=put)
    thread.start()
    channel.close()
    thread.join()
    assert ended == ["put"]
    with pytest.raises(ChannelClosed):
        channel.get()


@pytest.mark.parametrize(("depth", "exchange_every"), [(1, 1), (2, 3)])
def test_asked_for_early_while_the_stages_allow_it(depth, exchange_every):
    plain = CountingStages(window=3)
    expected = list(Pipeline(plain, range(30), depth=depth, exchange_every=exchange_every))
    stages = CountingStages(window=3)
    stages.num_early = 5
    pipeline = Pipeline(
        stages, range(30), depth=depth, exchange_every=exchange_every, fetch_early=True
    )
    limit = depth + exchange_every - 1
    # Whole minibatches wait within the depth, one more is in hand; the rest is only asked for.
    most = limit + 1 + stages.num_early + exchange_every - 1
    wait_until(lambda: len(asked(stages)) >= limit + stages.num_early)
    assert len(stages.completed) <= limit + 1
    got = []
    for ready in pipeline:
        stages.num_handed_over += 1
        got.append(ready)
    assert got == expected
    assert stages.known_when_planned == plain.known_when_planned
    assert limit < stages.most_under_way <= most + 1
    assert not own_threads()


@pytest.mark.parametrize("allowed", [False, True])
def test_closed_while_it_waits_to_ask_early(allowed):
    stages = CountingStages()
    stages.num_early = 4 if allowed else 0
    pipeline = Pipeline(stages, range(100), depth=1, fetch_early=True)
    next(pipeline)
    wait_until(lambda: len(asked(stages)) >= (6 if allowed else 2))
    pipeline.close()
    assert not own_threads()
    assert sorted(stages.completed + stages.abandoned) == asked(stages)


def wait_until(holds):
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_closed_by_the_garbage_collector_in_a_thread_of_its_own():
    """What is garbage ends in any thread, also in one that it would wait for."""
    stages = CountingStages()
    errors = []

    class Closing:
        def __del__(self):
            try:
                pipeline.close()
            except BaseException as error:
                errors.append(error)

    garbage, made = [Closing()], threading.Event()

    def complete(number):
        assert made.wait(20)
        wait_until(lambda: len(asked(stages)) == 3)
        garbage.clear()
        stages.completed.append(number)
        return number

    stages.complete = complete
    pipeline = Pipeline(stages, range(100), depth=3)
    made.set()
    wait_until(lambda: stages.retracted and pipeline.closed and not own_threads())
    assert not errors
    assert stages.completed + stages.abandoned == [0, 1, 2]
