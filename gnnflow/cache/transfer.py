"""How rows of a rank are asked for and travel: what a policy may change while a run goes on."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

from gnnflow.cache.halo_cache import HaloCache
from gnnflow.cache.lookahead_window import LookaheadWindow
from gnnflow.features.wire import WIRE_DTYPES, Wire, WireDtype
from gnnflow.policies import Decision

Decide = Callable[[HaloCache, int], float]
"""Given the cache and the number of the next minibatch, the share of the exchange to carry out:
0 to leave the rows alone, 1 for all of it."""


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
