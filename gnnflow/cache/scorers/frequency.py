"""The row that was used most often stays, old uses counting less than new ones."""

import numpy as np

from gnnflow._kernels import CacheBooks
from gnnflow.cache.scorers.base import RowOrder
from gnnflow.cache.vertex_values import VertexValues
from gnnflow.errors import ConfigError


class FrequencyScorer(RowOrder):
    """Counts uses, every count multiplied by `factor` per minibatch."""

    name = "frequency"

    def __init__(self, *, factor: float = 0.995, prior: VertexValues | None = None) -> None:
        """Starts with no use known.

        Args:
            factor: What a use counts one minibatch later, in (0, 1].
            prior: Probability that a minibatch needs a vertex. A vertex then starts with the
                count that such a probability leads to in the long run.

        Raises:
            ConfigError: If the factor is out of range.
        """
        if not 0 < factor <= 1:
            raise ConfigError(f"the factor of the frequency scorer must be in (0, 1], got {factor}")
        self._factor = factor
        self._prior = prior

    def make_books(self, capacity: int, num_vertices: int, looks_ahead: bool) -> CacheBooks:
        """Orders by the aged count of uses."""
        prior = self._prior
        if prior is None:
            prior = VertexValues(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))
        return CacheBooks.by_count(
            capacity, num_vertices, looks_ahead, self._factor, prior.ids, prior.values
        )
