"""The row that a minibatch needs with the largest probability stays.

Source: Kaler et al., "Communication-Efficient Graph Neural Networks with Probabilistic Neighborhood
Expansion Analysis and Caching", MLSys 2023 (SALIENT++).
"""

import numpy as np

from gnnflow.features.scorers.base import Ids, Keys, Priorities, Scorer, Slots, as_priorities, grown
from gnnflow.features.vertex_values import VertexValues


class VipScorer(Scorer):
    """Orders by vertex inclusion probability, which does not change during training."""

    name = "vip"

    def __init__(self, probabilities: VertexValues) -> None:
        """Takes the probabilities of remote vertices, as `gnnflow.features.vip` computes them."""
        self._probabilities = probabilities
        self._priority: Priorities = np.zeros(0, dtype=np.uint32)

    def register(self, keys: Keys, ids: Ids) -> None:
        """Looks the probabilities up, once per vertex."""
        self._priority = grown(self._priority, self.index.num_keys)
        self._priority[keys] = as_priorities(self._probabilities.at(ids))

    def touch(self, keys: Keys, slots: Slots, minibatch: int) -> Priorities:
        """Returns the probabilities: a use changes nothing."""
        return self._priority[keys]

    def priorities(self, keys: Keys) -> Priorities:
        """Returns the probabilities."""
        return self._priority[keys]

    @property
    def memory_bytes(self) -> int:
        """Size of the probabilities, by id and by key."""
        values = self._probabilities
        return self._priority.nbytes + values.ids.nbytes + values.values.nbytes
