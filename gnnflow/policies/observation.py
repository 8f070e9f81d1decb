"""What a policy sees: plain numbers about a rank's cache, the same live, in replay and on file."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gnnflow.traffic import Traffic


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFacts:
    """What stays the same during a run, as one rank sees it."""

    scorer: str
    """Name of the scorer that orders the cache's rows."""

    num_parts: int
    """Parts of the graph, one per rank."""

    graph_vertices: int
    """Vertices of the whole graph."""

    graph_edges: int
    """Edges of the whole graph."""

    part_vertices: int
    """Inner vertices of this rank's part."""

    halo_vertices: int
    """Neighbours of inner vertices that other parts own."""

    cache_rows: int
    """Rows that the halo cache can hold; at least 1."""

    row_bytes: int
    """Bytes of one feature row."""

    num_minibatches: int
    """Minibatches of this rank in the whole run."""

    free_admission: bool = False
    """Whether a replacement keeps rows that arrive anyway, instead of fetching them."""

    max_lookahead: int = 0
    """Longest lookahead window that a decision may set; 0 if it may not set one."""

    max_exchange_every: int = 1
    """Most minibatches that a decision may let share one exchange."""

    wire_dtypes: tuple[str, ...] = ("stored",)
    """Types in which a decision may let rows travel."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MinibatchCounters:
    """What one minibatch cost; the cache adds these up, live and in replay."""

    minibatch: int
    """Number of the minibatch on this rank, from 0 over the whole run."""

    traffic: Traffic
    """Rows that it asked for and moved, and how long training waited for it; 0 s in replay."""

    elapsed_s: float = 0.0
    """Seconds from the end of the last minibatch to the end of this one; 0 in replay."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Sums over consecutive minibatches."""

    minibatches: int = 0
    """Minibatches summed."""

    remote_rows: int = 0
    """Remote rows asked for."""

    hit_rows: int = 0
    """Those found in the cache."""

    filled_rows: int = 0
    """Rows fetched only to fill the cache."""

    moved_bytes: int = 0
    """Bytes that came from other ranks."""

    stall_s: float = 0.0
    """Seconds the training loop waited."""

    elapsed_s: float = 0.0
    """Seconds the minibatches took."""

    @classmethod
    def of(cls, counters: Iterable[MinibatchCounters]) -> "Window":
        """Adds up minibatches, under the names by which policies and logs know the sums."""
        known = list(counters)
        traffic = Traffic.total(item.traffic for item in known)
        return cls(
            minibatches=len(known),
            remote_rows=traffic.rows_asked,
            hit_rows=traffic.rows_hit,
            filled_rows=traffic.rows_filled,
            moved_bytes=traffic.bytes_fetched,
            stall_s=traffic.wait_s,
            elapsed_s=sum(item.elapsed_s for item in known),
        )

    @property
    def hit_rate(self) -> float:
        """Remote rows found in the cache over remote rows asked for; 1 if none were asked for."""
        return self.hit_rows / self.remote_rows if self.remote_rows else 1.0

    @property
    def missed_rows(self) -> int:
        """Rows fetched because a minibatch needed them."""
        return self.remote_rows - self.hit_rows

    @property
    def moved_rows(self) -> int:
        """Rows that came from other ranks, those fetched only to fill the cache included."""
        return self.missed_rows + self.filled_rows

    @property
    def moved_rows_per_minibatch(self) -> float:
        """Mean of `moved_rows` over the minibatches."""
        return self.moved_rows / max(self.minibatches, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheState:
    """The cache at a decision point, and what a replacement would do now."""

    occupied_rows: int
    """Slots in use."""

    stale_rows: int
    """Cached rows that no minibatch of the window used."""

    candidate_rows: int
    """Rows outside the cache that were used before."""

    incoming_rows: int
    """Rows that a replacement would fetch now; 0 with free admission."""

    outgoing_rows: int
    """Rows that it would evict for them; fewer than `incoming_rows` while there are free slots."""

    incoming_uses: float
    """Uses per minibatch, within the window, of a row that would come in."""

    outgoing_uses: float
    """Uses per minibatch, within the window, of a row that would go."""

    lookahead: int = 0
    """Minibatches of the lookahead window; 0 if the scorer has none."""

    exchange_every: int = 1
    """Minibatches whose misses share one exchange."""

    wire_dtype: str = "stored"
    """Type in which rows travel."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PastDecision:
    """A decision that was carried out, with its measured effect."""

    minibatch: int
    """Minibatch whose observation it answered."""

    replace: bool
    """Whether it asked for a replacement."""

    hit_rate_change: float
    """Hit rate after it minus hit rate before it."""

    volume_change: float
    """Rows moved per minibatch after it over those before it, minus 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """Everything a policy is told when it is asked."""

    rank: int
    """Who asks."""

    minibatch: int
    """Last minibatch that is part of the observation, from 0 over the whole run."""

    minibatches_since_replacement: int
    """Minibatches since the last replacement, or since the start of the run."""

    facts: RunFacts
    """What stays the same during the run."""

    window: Window
    """The latest minibatches."""

    before: Window
    """As many minibatches before those; empty at the start of a run."""

    state: CacheState
    """The cache now."""

    history: tuple[PastDecision, ...] = field(default=())
    """The last decisions whose effect is known, oldest first."""

    @property
    def hit_rate(self) -> float:
        """Hit rate of the latest window."""
        return self.window.hit_rate

    @property
    def hit_rate_change(self) -> float:
        """Hit rate of the latest window minus that of the one before; 0 at the start."""
        return self.window.hit_rate - self.before.hit_rate if self.before.minibatches else 0.0

    @property
    def remaining_minibatches(self) -> int:
        """Minibatches still to come in the run."""
        return max(self.facts.num_minibatches - self.minibatch - 1, 0)


def to_json(record: Any) -> dict[str, Any]:
    """An observation, or any record it is made of, as a dictionary for JSON."""
    return dataclasses.asdict(record)
