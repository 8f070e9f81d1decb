"""The halo cache: a fixed budget of remote rows, and the bookkeeping of what is worth keeping.

The protocol of one minibatch, which training, the prefetch pipeline and the replay of traces share:

1. `announce(ids)`, when the minibatch is sampled, maybe long before it is needed. Only scorers that
   look ahead make use of it. Announcements come in the order of the minibatches.
2. `step = plan(ids, replace=...)`, when its rows are to be fetched. All decisions are made here,
   from ids alone: what is found, what must be fetched, which of the fetched rows stay and whose
   place they take. So the outcome is a function of the ids and decisions so far, and of nothing
   that depends on time: a replay without rows and a run with many fetches under way agree.
3. The store fetches `step.fetch_ids`, in whatever time that takes. Meanwhile later minibatches may
   be planned.
4. `rows_for(step)` gives the rows of the cache as this step has to see them; the store gathers
   `step.slots` from there.
5. `commit(step, fetched)` copies the admitted rows into their slots.

Steps 4 and 5 come in the order of the plans, each minibatch's gather before its commit and its
commit before the next one's gather: a slot may be planned to hold a row that is still on its way,
and only this order makes sure that it has arrived when it is read. The cache refuses any other.

Rows that arrive as misses are free to admit. With scorers that order (`lru`, `frequency`, `vip`,
`lookahead`) the best of the cached and the arrived rows stay; `replace=False` keeps arrived rows
out unless a slot is free. Rows fetched only to fill the cache (at the start, or by `decay`) are
counted in the communication volume.

Who decides on `replace` is not the cache's business: a schedule, or a policy.
"""

import copy
from collections import deque
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from gnnflow._kernels import CacheBooks, CacheIndex, copy_rows
from gnnflow.array_types import Ids, Keys, Rows, Slots
from gnnflow.cache.scorers.base import ReplacementScorer, RowOrder, Scorer
from gnnflow.cache.step import CacheCounts, CacheStep, RunningCounts
from gnnflow.cache.vertex_values import VertexValues

# Vertices that are remembered without being cached cost about 50 bytes each; below this number
# nobody has to be forgotten.
_ALWAYS_KNOWN = 1 << 20


class HaloCache:
    """A fixed number of remote rows with the scorer that orders them.

    One thread may announce and plan while another gathers and commits; no more than that.
    """

    def __init__(
        self,
        capacity: int,
        scorer: Scorer,
        *,
        row_shape: tuple[int, ...] = (),
        dtype: npt.DTypeLike | None = None,
        num_vertices: int = 0,
    ) -> None:
        """Makes an empty cache.

        Args:
            capacity: Number of rows it may hold.
            scorer: Orders the rows; it serves this cache only.
            row_shape: Shape of one row.
            dtype: Type of the rows; None keeps no rows, only the books, as a replay does.
            num_vertices: Vertices of the graph, 0 if not known; it only saves time.
        """
        self._scorer = scorer
        self._books: CacheBooks | None = None
        self._index: CacheIndex
        if isinstance(scorer, RowOrder):
            self._index = self._books = scorer.bind(capacity, num_vertices)
        else:
            assert isinstance(scorer, ReplacementScorer)
            self._index = CacheIndex(capacity, num_vertices)
            scorer.bind(self._index)
        self._rows: Rows | None = None
        if dtype is not None:
            self._rows = np.empty((capacity, *row_shape), dtype=dtype)
        self._place: Callable[[Slots, Rows], None] | None = None
        self._announced: deque[Ids] = deque()
        self._num_planned = 0
        self._num_committed = 0
        self._counts = RunningCounts()
        self._max_known = max(_ALWAYS_KNOWN, 4 * capacity)

    @property
    def capacity(self) -> int:
        """Number of rows it may hold."""
        return self._index.capacity

    @property
    def num_cached(self) -> int:
        """Number of rows it holds, those on their way included."""
        return self._index.num_cached

    @property
    def scorer(self) -> Scorer:
        """What orders the rows."""
        return self._scorer

    @property
    def counts(self) -> CacheCounts:
        """Sums since the start; subtract an earlier value for a window."""
        return self._counts.counts()

    @property
    def rows_bytes(self) -> int:
        """Size of the rows in the memory of the CPU."""
        return 0 if self._rows is None else self._rows.nbytes

    @property
    def bookkeeping_bytes(self) -> int:
        """Size of everything but the rows."""
        return self._index.memory_bytes + self._scorer.memory_bytes

    @property
    def rows(self) -> Rows:
        """The kept rows by slot, `[capacity, *row_shape]`; see `rows_for` for when to read them."""
        if self._rows is None:
            raise ValueError("this cache keeps no rows")
        return self._rows

    def cached_ids(self) -> Ids:
        """Returns the global id in each used slot, int64 `[num_cached]`."""
        return self._index.cached_ids()

    def num_unused_since(self, minibatch: int) -> int:
        """Returns how many cached rows no minibatch from this number on has asked for."""
        return int(np.count_nonzero(self._index.last_uses() < minibatch))

    def lookup(self, ids: Ids) -> Slots:
        """Returns the slot of each id, -1 where it is not cached, and changes nothing."""
        return self._index.find_slots(ids)

    def fill(self, candidates: VertexValues, fetch: Callable[[Ids], Rows] | None = None) -> int:
        """Fills free slots before the first minibatch with the candidates of the largest value.

        Args:
            candidates: Values of remote vertices, for example degrees or probabilities.
            fetch: Returns the rows of ids; needed if the cache keeps rows.

        Returns:
            The number of rows fetched. They count as communication volume.
        """
        free = np.arange(self.num_cached, self.capacity, dtype=np.int32)
        ids = candidates.best(self.capacity)
        ids = ids[self.lookup(ids) < 0][: len(free)]
        slots = free[: len(ids)]
        if self._books is not None:
            self._books.fill(ids)
        else:
            self._fill_for_replacement(ids, slots)
        if self._rows is not None or self._place is not None:
            if fetch is None:
                raise ValueError("a cache with rows needs a fetch function to be filled")
            rows = fetch(ids)
            if self._rows is not None:
                self._rows[slots] = rows
            elif self._place is not None:
                self._place(slots, rows)
        self._counts = RunningCounts(rows_filled=len(ids), num_admitted=len(ids))
        return len(ids)

    def move_rows(self, place: Callable[[Slots, Rows], None]) -> None:
        """Hands the rows over to someone who keeps them elsewhere, as on a GPU.

        From then on this cache has only the books: who took the rows gathers them in the order of
        `check_turn`, and writes the admitted ones into their slots before `commit`.

        Args:
            place: Writes rows into slots; called with the rows of now, and by `fill`.
        """
        place(np.arange(self.num_cached, dtype=np.int32), self.rows[: self.num_cached])
        self._rows, self._place = None, place

    def announce(self, ids: Ids) -> None:
        """Tells what a later minibatch will ask for.

        Args:
            ids: int64 `[n]`, the remote vertices of the next minibatch not announced so far.
        """
        if self._books is not None and self._books.looks_ahead:
            self._books.announce(ids)
            self._announced.append(ids)

    def retract(self) -> None:
        """Forgets all minibatches that were announced and not planned: they will not come."""
        if self._announced and self._books is not None:
            self._announced.clear()
            self._books.retract()

    def plan(self, ids: Ids, *, replace: bool = True, fraction: float = 1.0) -> CacheStep:
        """Looks up a minibatch's remote rows and decides what to fetch and what to keep.

        Args:
            ids: int64 `[n]`, distinct global ids of remote vertices.
            replace: Whether cached rows may give way.
            fraction: Share of the exchange to carry out then, best rows first, in (0, 1].

        Returns:
            What to gather, fetch and copy; hand it to `rows_for` and `commit`, in order.

        Raises:
            ValueError: If an id is repeated or these are not the ids that were announced.
        """
        fraction = fraction if replace else 0.0
        minibatch = self._num_planned
        if self._books is not None:
            step = self._plan_by_order(self._books, ids, minibatch, fraction)
        else:
            step = self._plan_replacement(ids, minibatch, fraction)
        self._num_planned += 1
        self._counts.add(step)
        if self._index.num_known > self._max_known:
            self._forget()
        return step

    def rows_for(self, step: CacheStep) -> Rows:
        """Returns the rows by slot, `[capacity, ...]`, as a planned minibatch has to see them.

        Raises:
            ValueError: If earlier minibatches are not committed yet, or this one already is.
        """
        self.check_turn(step)
        return self.rows

    def commit(self, step: CacheStep, fetched: Rows | None = None) -> None:
        """Copies the admitted rows of a minibatch into their slots, once it has been gathered.

        Args:
            step: The oldest plan that is not committed.
            fetched: `[num_fetched, ...]`, the rows of `step.fetch_ids`; None if no rows are kept
                here.

        Raises:
            ValueError: If it is another minibatch's turn.
        """
        self.check_turn(step)
        if self._rows is not None and len(step.admitted):
            if fetched is None:
                raise ValueError("a cache with rows needs the fetched ones")
            copy_rows(self._rows, step.admitted_slots, fetched, step.admitted)
        self._num_committed += 1

    def books(self) -> "HaloCache":
        """Returns a copy without rows, to try out what a decision would lead to."""
        rows, self._rows = self._rows, None
        place, self._place = self._place, None
        try:
            twin = copy.deepcopy(self)
        finally:
            self._rows, self._place = rows, place
        twin._num_committed = twin._num_planned
        return twin

    def check_turn(self, step: CacheStep) -> None:
        """Refuses to gather or commit a minibatch whose turn it is not.

        Raises:
            ValueError: If earlier minibatches are not committed yet, or this one already is.
        """
        if step.minibatch != self._num_committed:
            raise ValueError(
                f"minibatches are gathered and committed in the order of their plans: it is the "
                f"turn of {self._num_committed}, got {step.minibatch}"
            )

    def _plan_by_order(
        self, books: CacheBooks, ids: Ids, minibatch: int, fraction: float
    ) -> CacheStep:
        """Keeps the best of cached and arrived rows."""
        announced = None
        if books.looks_ahead:
            if not self._announced:
                self.announce(ids)
            announced = self._announced.popleft()
        planned = books.plan(ids, announced, minibatch, fraction)
        if planned is None:
            raise ValueError(f"minibatch {minibatch} asks for other rows than it announced")
        slots, fetch_ids, admitted, admitted_slots, num_evicted = planned
        return CacheStep(
            minibatch=minibatch,
            slots=slots,
            fetch_ids=fetch_ids,
            rows_missed=len(fetch_ids),
            admitted=admitted,
            admitted_slots=admitted_slots,
            num_evicted=num_evicted,
        )

    def _plan_replacement(self, ids: Ids, minibatch: int, fraction: float) -> CacheStep:
        """Lets the scorer choose; what it wants and the minibatch misses too is fetched once."""
        scorer = self._replacement_scorer
        keys, slots, fresh = self._index.look_up(ids, minibatch)
        if len(fresh):
            scorer.register(keys[fresh])
        scorer.touch(keys, slots)
        misses = np.flatnonzero(slots < 0)
        admitted = new_slots = np.zeros(0, dtype=np.int32)
        fill_ids = np.zeros(0, dtype=np.int64)
        num_evicted = 0
        if fraction > 0:
            new_slots, new_keys = scorer.replacements(fraction)
            scorer.replace(new_slots, new_keys)
            priorities = np.zeros(len(new_keys), dtype=np.uint32)
            num_evicted = self._index.assign(new_slots, new_keys, priorities)
            admitted, arrives = _rows_of(new_keys, keys[misses])
            fill_ids = self._index.ids_of(new_keys[~arrives])
        return CacheStep(
            minibatch=minibatch,
            slots=slots,
            fetch_ids=np.concatenate([ids[misses], fill_ids]),
            rows_missed=len(misses),
            admitted=admitted,
            admitted_slots=new_slots,
            num_evicted=num_evicted,
        )

    @property
    def _replacement_scorer(self) -> ReplacementScorer:
        assert isinstance(self._scorer, ReplacementScorer)
        return self._scorer

    def _fill_for_replacement(self, ids: Ids, slots: Slots) -> None:
        scorer = self._replacement_scorer
        keys, fresh = self._index.known(ids)
        scorer.register(keys[fresh])
        self._index.assign(slots, keys, np.zeros(len(keys), dtype=np.uint32))
        scorer.fill(keys)

    def _forget(self) -> None:
        if self._books is not None:
            self._books.forget_idle()
        # If much had to stay, let it grow before looking again.
        self._max_known = max(self._max_known, 2 * self._index.num_known)


def _rows_of(wanted: Keys, missed: Keys) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Finds wanted rows among those that arrive anyway; the others follow those.

    Returns:
        The row of each wanted key among all that are fetched, and whether it arrives anyway.
    """
    order = np.argsort(missed)
    places = np.searchsorted(missed, wanted, sorter=order)
    arrives = np.zeros(len(wanted), dtype=np.bool_)
    inside = places < len(missed)
    arrives[inside] = missed[order[places[inside]]] == wanted[inside]
    rows = np.empty(len(wanted), dtype=np.int32)
    rows[arrives] = order[places[arrives]]
    num_more = len(wanted) - int(np.count_nonzero(arrives))
    rows[~arrives] = np.arange(len(missed), len(missed) + num_more)
    return rows, arrives
