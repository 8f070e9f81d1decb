"""Minibatches made ahead of training: one is trained while later ones are sampled and fetched.

Three stages follow each other, each in a thread of its own:

1. *sample*: the vertices of minibatches, up to `depth` of them in one exchange per hop: where rows
   fill a link, each exchange waits behind them;
2. *ask*: announces sampled minibatches to the halo cache as far as its window reaches, plans the
   next one and asks other ranks for the rows it misses, several minibatches in one exchange;
3. *complete*: waits for the rows, gathers, and hands over, in the order of the plans.

The training loop is the fourth. What is planned when does not depend on time: before minibatch `t`
is planned, exactly those minibatches are announced that the window's rule asks for, however far
sampling has come. Threads and depth change when things happen and nothing else.

Memory is bounded: sampled minibatches wait in a queue of fixed size and in the window, and at most
`depth` minibatches (and one exchange's worth less one) are planned and not yet handed over, unless
the stages allow more while the link is idle. `Channel` is the queue between two stages, `Gate`
counts what is under way.
"""

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

ItemT = TypeVar("ItemT")


class ChannelClosed(Exception):  # noqa: N818 (no error, the way in which a stage learns to stop)
    """Somebody closed the channel: nothing more is wanted."""


class Channel(Generic[ItemT]):
    """A bounded queue with an end, an error, and a way to call everything off.

    The sender ends it with `finish`, after which the receiver gets what is left and then
    StopIteration or the sender's error. `close` calls it off: both sides get `ChannelClosed`, also
    those that wait at that moment.
    """

    def __init__(self, size: int | None = None) -> None:
        """Makes an empty channel for at most `size` items, or for any number."""
        self._size = size
        self._items: deque[ItemT] = deque()
        self._finished = False
        self._error: BaseException | None = None
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: ItemT) -> None:
        """Adds an item, waiting for room.

        Raises:
            ChannelClosed: If it is called off.
        """
        with self._changed:
            self._changed.wait_for(self._has_room)
            if self._closed:
                raise ChannelClosed
            self._items.append(item)
            self._changed.notify_all()

    def get(self) -> ItemT:
        """Takes the oldest item, waiting for one.

        Raises:
            StopIteration: If there is none and never will be.
            ChannelClosed: If it is called off.
        """
        with self._changed:
            self._changed.wait_for(self._has_news)
            if self._closed:
                raise ChannelClosed
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if self._error is not None:
                raise self._error
            raise StopIteration

    def finish(self, error: BaseException | None = None) -> None:
        """Ends it after what was put, with an error for the receiver if one is given."""
        with self._changed:
            self._finished = True
            self._error = error
            self._changed.notify_all()

    def close(self) -> None:
        """Calls it off for both sides."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()

    def _has_room(self) -> bool:
        return self._closed or self._size is None or len(self._items) < self._size

    def _has_news(self) -> bool:
        return self._closed or self._finished or bool(self._items)


_LOOK_EVERY_S = 0.002


class Gate:
    """Lets minibatches in as long as few are under way, or others say that there is room for more.

    One thread enters, another leaves; anybody may close.
    """

    def __init__(self, limit: int, may_exceed: Callable[[], bool] | None = None) -> None:
        """Opens the gate.

        Args:
            limit: Minibatches under way from which on no further ones may enter.
            may_exceed: Tells whether further ones may enter now; None for never.
        """
        self._limit = limit
        self._may_exceed = may_exceed
        self._num_inside = 0
        self._closed = False
        self._changed = threading.Condition()

    def enter(self, num: int) -> None:
        """Waits until there is room for some minibatches and counts them in.

        Raises:
            ChannelClosed: If it is closed.
        """
        with self._changed:
            while not self._closed and self._num_inside >= self._limit:
                if self._may_exceed is None:
                    self._changed.wait()
                elif self._may_exceed():
                    break
                else:
                    # Nobody tells when the link falls idle.
                    self._changed.wait(_LOOK_EVERY_S)
            if self._closed:
                raise ChannelClosed
            self._num_inside += num

    def leave(self) -> None:
        """Counts one out."""
        with self._changed:
            self._num_inside -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """Lets nobody in any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


OWN_THREADS = "gnnflow-"
"""What the names of all threads begin with that a pipeline may wait for."""

SeedsT = TypeVar("SeedsT", contravariant=True)
SampledT = TypeVar("SampledT")
AskedT = TypeVar("AskedT")
ReadyT = TypeVar("ReadyT", covariant=True)


class Stages(Protocol[SeedsT, SampledT, AskedT, ReadyT]):
    """What a pipeline does with minibatches; each method is called from one thread at a time."""

    def sample(self, seeds: Sequence[SeedsT], /) -> Sequence[SampledT]:
        """Samples several minibatches together."""

    def wants_more(self) -> bool:
        """Tells whether a further minibatch has to be announced before the next one is planned."""

    def may_ask_early(self) -> bool:
        """Tells whether more rows may be asked for although enough are: the link is idle."""

    def announce(self, sampled: SampledT, /) -> None:
        """Tells what a later minibatch will ask for."""

    def plan(self, sampled: SampledT, /) -> AskedT:
        """Decides what to fetch for the oldest announced minibatch that is not planned."""

    def ask(self, planned: Sequence[AskedT], /) -> None:
        """Asks other ranks for what planned minibatches need, all in one exchange."""

    def complete(self, asked: AskedT, /) -> ReadyT:
        """Waits for the rows and makes the minibatch; called in the order of the plans."""

    def abandon(self, asked: AskedT, /) -> None:
        """Waits for the rows of a minibatch that nobody wants any more, in its turn."""

    def retract(self) -> None:
        """Forgets minibatches that were announced and will not be planned."""


class Pipeline(Generic[SeedsT, SampledT, AskedT, ReadyT]):
    """Makes minibatches ahead of the one who iterates; `close` ends it at any time."""

    def __init__(
        self,
        stages: Stages[SeedsT, SampledT, AskedT, ReadyT],
        seeds: Iterable[SeedsT],
        *,
        depth: int,
        exchange_every: int | Callable[[], int] = 1,
        fetch_early: bool = False,
    ) -> None:
        """Starts the threads.

        Args:
            stages: What to do.
            seeds: Seeds of all minibatches that will be asked for.
            depth: Minibatches whose rows are asked for before the one in training is done, and the
                most that are sampled together unless `exchange_every` asks for more; 0 makes each
                when it is asked for, without threads.
            exchange_every: Minibatches whose misses share an exchange, and the fewest that are
                sampled together; a function is asked before every exchange.
            fetch_early: Whether rows are asked for beyond `depth` when the stages allow it.
        """
        self._stages = stages
        self._exchange_every: Callable[[], int] = (
            exchange_every if callable(exchange_every) else lambda: exchange_every
        )
        self._depth = depth
        self._under_way: deque[AskedT] = deque()  # asked and not completed, in order
        self._gate: Gate | None = None
        self._background: list[_Background[Any]] = []
        self._closed = False
        if depth == 0:
            self._ready = self._completed(self._asked(self._sampled(seeds)))
            return
        together = self._exchange_every()
        self._gate = Gate(depth, stages.may_ask_early if fetch_early else None)
        sampled = self._start("sample", self._sampled(seeds), max(depth, together))
        asked = self._start("ask", self._asked(sampled), None)
        # What is asked for early waits as the rows that arrive, not as whole minibatches.
        self._ready = self._start("complete", self._completed(asked), depth + together - 1)

    @property
    def closed(self) -> bool:
        """Whether it has ended: all handed over, stopped or failed."""
        return self._closed

    def __iter__(self) -> Iterator[ReadyT]:
        """Returns itself."""
        return self

    def __next__(self) -> ReadyT:
        """Hands over the next minibatch, waiting for it.

        Raises:
            Exception: What went wrong in a stage, as it was raised there.
        """
        if self._closed:
            raise StopIteration
        try:
            ready = next(self._ready)
        except BaseException:
            self.close()
            raise
        if self._gate is not None:
            self._gate.leave()
        return ready

    def close(self) -> None:
        """Ends the threads, and waits for answers that are still to come.

        Called in a thread of gnnflow's own, it does so in another one: the garbage collector ends
        what nobody refers to in any thread, also in one that this would wait for.
        """
        if self._closed:
            return
        if threading.current_thread().name.startswith(OWN_THREADS):
            threading.Thread(target=self.close, name="closing", daemon=True).start()
            return
        self._closed = True
        if self._gate is not None:
            self._gate.close()
        for background in self._background:
            background.channel.close()
        for background in self._background:
            background.thread.join()
        while self._under_way:
            self._stages.abandon(self._under_way.popleft())
        self._stages.retract()

    def _start(self, name: str, items: Iterator[ItemT], size: int | None) -> Iterator[ItemT]:
        channel: Channel[ItemT] = Channel(size)
        background = _Background(name, items, channel)
        self._background.append(background)
        return _received(channel)

    def _sampled(self, seeds: Iterable[SeedsT]) -> Iterator[SampledT]:
        remaining = iter(seeds)
        most = 1  # the first ones are waited for, later ones have time
        while group := list(itertools.islice(remaining, max(most, self._exchange_every()))):
            most = min(2 * most, max(self._depth, 1))
            yield from self._stages.sample(group)

    def _asked(self, sampled: Iterator[SampledT]) -> Iterator[AskedT]:
        stages = self._stages
        announced: deque[SampledT] = deque()
        while True:
            num_together = self._exchange_every()
            if self._gate is not None:
                self._gate.enter(num_together)
            group: list[AskedT] = []
            try:
                while len(group) < num_together:
                    while not announced or stages.wants_more():
                        following = next(sampled, None)
                        if following is None:
                            break
                        stages.announce(following)
                        announced.append(following)
                    if not announced:
                        break
                    group.append(stages.plan(announced.popleft()))
            finally:
                # What is planned is asked for even if a later one failed or nobody waits any more:
                # the cache counts on its rows.
                if group:
                    stages.ask(group)
                    self._under_way.extend(group)
            yield from group
            if len(group) < num_together:
                return

    def _completed(self, asked: Iterator[AskedT]) -> Iterator[ReadyT]:
        for minibatch in asked:
            # Stays under way until it is done, so that closing waits for it in any case.
            ready = self._stages.complete(minibatch)
            self._under_way.popleft()
            yield ready


class _Background(Generic[ItemT]):
    """A stage in its thread: takes items from an iterator and puts them into a channel."""

    def __init__(self, name: str, items: Iterator[ItemT], channel: Channel[ItemT]) -> None:
        self.channel = channel
        self._name = name
        self._items = items
        self.thread = threading.Thread(target=self._run, name=OWN_THREADS + name, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            for item in self._items:
                self.channel.put(item)
        except ChannelClosed:
            pass
        except BaseException as error:
            if not getattr(error, "__notes__", None):
                error.add_note(f"raised in the stage '{self._name}' of the prefetch pipeline")
            self.channel.finish(error)
        else:
            self.channel.finish()


def _received(channel: Channel[ItemT]) -> Iterator[ItemT]:
    while True:
        try:
            item = channel.get()
        except StopIteration:
            return
        yield item
