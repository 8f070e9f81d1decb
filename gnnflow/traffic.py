"""Rows asked, hit, filled and fetched: what moving rows of other ranks came to, in one record.

Caches count it, minibatches carry it, policies are told of it, and the files of a run hold sums of
it. A file keeps the names that it was first written with: each writer has a table of its columns.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Self


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """Remote rows of some minibatches; what is not known is 0."""

    rows_asked: int = 0
    """Remote rows that the minibatches need."""
    rows_hit: int = 0
    """Rows among them that were found in the halo cache."""
    rows_filled: int = 0
    """Rows fetched only to fill the cache."""
    bytes_fetched: int = 0
    """Bytes of all rows that came from other ranks."""
    wait_s: float = 0.0
    """Seconds that training waited for the minibatches."""

    @property
    def rows_missed(self) -> int:
        """Rows asked for and not found."""
        return self.rows_asked - self.rows_hit

    @property
    def rows_fetched(self) -> int:
        """Rows that came from other ranks: those not found, and those to fill the cache."""
        return self.rows_asked - self.rows_hit + self.rows_filled

    @property
    def hit_rate(self) -> float | None:
        """Rows found over rows asked for; None if none were asked for."""
        return self.rows_hit / self.rows_asked if self.rows_asked else None

    def __add__(self, other: Self) -> Self:
        """Returns the traffic of both."""
        return self.total((self, other))

    def __sub__(self, earlier: Self) -> Self:
        """Returns what happened since an earlier sum."""
        names = [field.name for field in fields(self)]
        return type(self)(**{name: getattr(self, name) - getattr(earlier, name) for name in names})

    @classmethod
    def total(cls, parts: Iterable[Self]) -> Self:
        """Adds up the traffic of minibatches."""
        known = list(parts)
        names = [field.name for field in fields(cls)]
        return cls(**{name: sum(getattr(part, name) for part in known) for name in names})
