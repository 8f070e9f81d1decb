"""The row that is needed soonest stays: minibatches are sampled ahead, so the near future is known.

Keeping the rows whose next use comes first is optimal (Belady 1966, "A Study of Replacement
Algorithms for a Virtual-Storage Computer"). Here the future is known as far as minibatches have
been announced; rows that none of them asks for are ordered by another scorer.
"""

from gnnflow._kernels import CacheBooks
from gnnflow.cache.scorers.base import RowOrder


class LookaheadScorer(RowOrder):
    """Orders by next use within the announced minibatches, and beyond them by another scorer."""

    name = "lookahead"
    looks_ahead = True

    def __init__(self, beyond: RowOrder) -> None:
        """Takes the scorer of rows that no announced minibatch asks for."""
        self._beyond = beyond

    def make_books(self, capacity: int, num_vertices: int, looks_ahead: bool) -> CacheBooks:
        """Makes those of the other scorer that look ahead."""
        return self._beyond.make_books(capacity, num_vertices, looks_ahead)
