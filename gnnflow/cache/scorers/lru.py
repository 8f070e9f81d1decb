"""The row that was used last stays longest."""

from gnnflow._kernels import CacheBooks
from gnnflow.cache.scorers.base import RowOrder


class LruScorer(RowOrder):
    """Least recently used rows go first."""

    name = "lru"

    def make_books(self, capacity: int, num_vertices: int, looks_ahead: bool) -> CacheBooks:
        """Orders by the minibatch of the last use."""
        return CacheBooks.by_last_use(capacity, num_vertices, looks_ahead)
