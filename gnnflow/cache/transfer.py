"""How far ahead rows are asked for and how they travel: what a policy may change in a run."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from gnnflow.cache.halo_cache import HaloCache
from gnnflow.cache.scorers import LookaheadScorer
from gnnflow.errors import ConfigError
from gnnflow.features.wire import WIRE_DTYPES, Wire, WireDtype
from gnnflow.policies import Decision

Lookahead = int | Literal["auto"]

MAX_ROWS_PER_SLOT = 12
"""An automatic window that asks for this many rows per row of the budget is long enough, if it has
`ALWAYS_ALLOWED` minibatches: what does not return until then is hardly worth a place."""
ALWAYS_ALLOWED = 8
"""Minibatches that an automatic window may have however small the budget is."""
Decide = Callable[[HaloCache, int], float]
"""Given the cache and the number of the next minibatch, the share of the exchange to carry out:
0 to leave the rows alone, 1 for all of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LookaheadWindow:
    """The rule that says whether a further minibatch is to be announced, live and in replay.

    An automatic window ends where looking further would not change what is kept: as soon as the
    rows that are known to return fill the cache.

    The rule looks at nothing but minibatches and cache, so that runs and replays of the same
    minibatches announce the same ones before each plan.
    """

    lookahead: Lookahead = "auto"
    """Minibatches after the next one, or `auto`: as many as it takes to know what to keep."""
    max_bytes: int = 1 << 30
    """Largest size of the sampled minibatches that an automatic window may keep waiting."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: If a value is out of range.
        """
        if self.lookahead != "auto" and self.lookahead < 0:
            raise ConfigError(
                f"lookahead must be 'auto' or a number of minibatches from 0 on, "
                f"got {self.lookahead}"
            )
        if self.max_bytes < 0:
            raise ConfigError(f"max_bytes must not be negative, got {self.max_bytes}")

    def wants_more(self, cache: HaloCache, waiting_bytes: int) -> bool:
        """Tells whether to announce a further minibatch before planning the next one.

        Args:
            cache: The cache that minibatches are announced to.
            waiting_bytes: Size of the sampled minibatches that are announced and not yet planned.
        """
        scorer = cache.scorer
        if not isinstance(scorer, LookaheadScorer):
            return False
        books = scorer.books
        num_minibatches = books.num_announced
        if num_minibatches == 0:
            return True
        if self.lookahead != "auto":
            return num_minibatches < 1 + self.lookahead
        capacity = books.capacity
        if books.num_cached + books.num_front_rows <= capacity:
            return False  # there is room for all, nothing has to be chosen
        if waiting_bytes >= self.max_bytes:
            return False
        many_rows = books.num_announced_rows >= MAX_ROWS_PER_SLOT * capacity
        if many_rows and num_minibatches > ALWAYS_ALLOWED:
            return False
        # With as many rows at hand that are known to return as the cache can hold, what it keeps is
        # the best choice there is: announcing more would not change it.
        return books.num_known_to_return() < capacity


@dataclass(kw_only=True, slots=True)
class Transfer:
    """The settings from now on; the next plan and the next exchange go by them."""

    window: LookaheadWindow = field(default_factory=LookaheadWindow)
    """How far ahead minibatches are announced to the cache."""
    exchange_every: int = 1
    """Minibatches whose misses share one exchange."""
    wire_dtype: WireDtype = "stored"
    """How float32 rows travel."""
    stored_row_bytes: int = 0
    """Bytes of a row as stored."""

    @property
    def row_bytes(self) -> int:
        """Bytes of a row on the way."""
        return Wire(WIRE_DTYPES.index(self.wire_dtype)).row_bytes(self.stored_row_bytes)

    def follow(self, decision: Decision) -> None:
        """Takes over what a decision sets; its bounds have been seen to."""
        if decision.lookahead is not None:
            self.window = dataclasses.replace(self.window, lookahead=decision.lookahead)
        if decision.exchange_every is not None:
            self.exchange_every = decision.exchange_every
        if decision.wire_dtype is not None:
            self.wire_dtype = decision.wire_dtype


def every(period: int) -> Decide:
    """Decides to replace at every `period`-th minibatch, or never if it is 0."""
    return lambda cache, minibatch: float(period > 0 and (minibatch + 1) % period == 0)
