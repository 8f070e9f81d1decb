"""The row that a minibatch needs with the largest probability stays.

Source: Kaler et al., "Communication-Efficient Graph Neural Networks with Probabilistic Neighborhood
Expansion Analysis and Caching", MLSys 2023 (SALIENT++).
"""

from gnnflow._kernels import CacheBooks
from gnnflow.cache.scorers.base import RowOrder
from gnnflow.cache.vertex_values import VertexValues


class VipScorer(RowOrder):
    """Orders by vertex inclusion probability, which does not change during training."""

    name = "vip"

    def __init__(self, probabilities: VertexValues) -> None:
        """Takes the probabilities of remote vertices, as `gnnflow.cache.vip` computes them."""
        self._probabilities = probabilities

    def make_books(self, capacity: int, num_vertices: int, looks_ahead: bool) -> CacheBooks:
        """Orders by the probability, which is looked up once per vertex."""
        ids, values = self._probabilities.ids, self._probabilities.values
        return CacheBooks.by_value(capacity, num_vertices, looks_ahead, ids, values)
