"""The rows of one minibatch on their way, and the fetch that it may share with others."""

from dataclasses import dataclass, field

import numpy as np

from gnnflow.array_types import Ids, Rows
from gnnflow.cache.step import CacheStep
from gnnflow.features import FetchUnderWay, RowPlan
from gnnflow.features.wire import WireDtype
from gnnflow.traffic import Traffic


@dataclass(slots=True)
class RowRequest:
    """The rows of one minibatch, from the moment it is sampled until they are gathered."""

    plan: RowPlan
    """Where the row of each vertex is."""
    remote_ids: Ids
    """int64 `[n]`: vertices whose rows only ranks elsewhere have, by owner; common rows of this
    machine are none of them."""
    remote_positions: Ids
    """int64 `[n]`: where they are among the vertices of the minibatch."""
    subgraph_bytes: int
    """Size of the sampled minibatch, which counts while it waits in the window."""
    step: CacheStep | None = None
    """What the cache decided; None without a cache."""
    fetch_ids: Ids = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """int64: what is fetched for it, rows to fill the cache last."""
    rows_on_host: int = 0
    """Further remote rows, found among the common ones of this machine."""
    wire_dtype: WireDtype = "stored"
    """How its rows were to travel when it was planned."""
    row_bytes: int = 0
    """Bytes of each row that was fetched for it, on the way."""
    num_requests: int = 0
    """Messages that ask for it; those of a shared exchange count with its first minibatch."""
    fetch: "SharedFetch | None" = None
    """The fetch that it shares with others; None before it is asked for."""
    first_row: int = 0
    """Where its rows start in that fetch."""
    known_s: tuple[float, float] = (0.0, 0.0)
    """Seconds of waiting and of everything in the training loop that became known between the plan
    before and its own."""
    settled: bool = False
    """Whether the cache has taken what it keeps of the rows."""

    @property
    def traffic(self) -> Traffic:
        """What was asked, found and fetched; complete once its rows are asked for."""
        step = self.step
        return Traffic(
            rows_asked=len(self.remote_ids) + self.rows_on_host,
            rows_hit=self.rows_on_host + (0 if step is None else step.rows_hit),
            rows_filled=0 if step is None else step.rows_filled,
            bytes_fetched=len(self.fetch_ids) * self.row_bytes,
        )

    def fetched(self) -> Rows:
        """Returns the rows of `fetch_ids`, waiting for them."""
        assert self.fetch is not None
        rows = self.fetch.rows()
        return rows[self.first_row : self.first_row + len(self.fetch_ids)]


class SharedFetch:
    """One fetch for several minibatches, and the memory that its rows arrive in."""

    def __init__(self, fetch: FetchUnderWay | None, rows: Rows, num_users: int) -> None:
        """Takes the fetch under way; None if there is nothing to fetch."""
        self._fetch = fetch
        self._rows = rows
        self._num_users = num_users

    def done(self) -> bool:
        """Tells whether the rows are here."""
        return self._fetch is None or self._fetch.done()

    def rows(self) -> Rows:
        """Waits for the rows of all minibatches, one after the other."""
        return self._rows if self._fetch is None else self._fetch.result()

    def release(self) -> bool:
        """Notes that one minibatch is done with it; tells whether it was the last."""
        self._num_users -= 1
        return self._num_users == 0
