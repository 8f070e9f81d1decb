"""Options: the halo cache and prefetching."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gnnflow.config.option_values import check_whole_numbers, require, require_at_least

DEFAULT_DEPTH = 4
"""Minibatches fetched ahead where there is something to wait for."""


def period_of(scorer: str, period: int | None) -> int:
    """Minibatches between two replacements, 0 for none: what is said, or what suits the scorer."""
    if period is not None:
        return period
    return 25 if scorer == "decay" else 1


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheConfig:
    """Which remote rows are kept, and how far ahead minibatches are made."""

    cache_fraction: float = 0.25
    """Budget of a rank's halo cache as a share of its halo vertices; 0 turns the cache off."""

    cache_bytes: int | None = None
    """Budget in bytes of rows; takes the place of cache-fraction."""

    cache_scope: Literal["host", "rank"] = "host"
    """Whether the ranks of a machine hold the remote rows that they need most once between them, in
    70 % of their budgets (host; with scorers lookahead, vip and frequency), or each its own
    (rank)."""

    cache_fill: Literal["empty", "degree", "random", "vip"] = "empty"
    """Rows fetched into the cache before the first minibatch: none, those with most neighbours,
    any, or those that minibatches need with the largest probability."""

    scorer: Literal["lookahead", "vip", "frequency", "lru", "decay", "none"] = "lookahead"
    """Which cached rows stay: those needed soonest (lookahead), with the largest probability (vip),
    most often or last used, or not stale yet (decay, as in MassiveGNN); none turns the cache
    off."""

    alpha: float = 0.05
    """Scorer decay: share of its score that a row loses per minibatch without a use, in (0, 1)."""

    period: int | None = None
    """Minibatches between two replacements, 0 for none after the fill; by default 1, and 25 for
    scorer decay, whose replacements cost traffic."""

    lookahead: int | Literal["auto"] = "auto"
    """Scorer lookahead: minibatches known beyond the next one, or as many as it takes to choose
    best (auto)."""

    prefetch_depth: int | None = None
    """Minibatches whose rows are fetched while one is in training, and the most that are sampled
    together; 0 makes each when it is due. By default 4 with several ranks or a GPU, else 0: one
    process has no link to wait for, and cores that sample do not train."""

    fetch_early_bytes: int = 0
    """Memory of minibatches beyond prefetch-depth whose rows may be fetched while nothing else is
    on its way, so that a slow link does not stand idle; 0 for none."""

    exchange_every: int = 1
    """Minibatches whose remote rows share one exchange, and the fewest sampled together."""

    trace: Path | None = None
    """Folder to record what each minibatch asked for, for gnnflow-replay."""

    @property
    def replace_every(self) -> int:
        """Minibatches between two replacements, 0 for none."""
        return period_of(self.scorer, self.period)

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: if a value is out of range.
        """
        check_whole_numbers(self)
        require(
            0 <= self.cache_fraction <= 1,
            f"cache_fraction must be in [0, 1], got {self.cache_fraction}; "
            "use cache_bytes for an absolute budget",
        )
        require(0 < self.alpha < 1, f"alpha must be in (0, 1), got {self.alpha}")
        require_at_least(self, 0, "cache_bytes", "period", "prefetch_depth", "fetch_early_bytes")
        require(
            self.lookahead == "auto" or self.lookahead >= 0,
            f"lookahead must be 'auto' or a number of minibatches from 0 on, got {self.lookahead}",
        )
        require_at_least(self, 1, "exchange_every")


DEFAULT_CACHE = CacheConfig()
"""What a loader has if nothing else is said, as the command line has it."""
