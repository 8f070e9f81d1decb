"""The row that was used most often stays, old uses counting less than new ones."""

import numpy as np
import numpy.typing as npt

from gnnflow.errors import ConfigError
from gnnflow.features.scorers.base import Ids, Keys, Priorities, Scorer, Slots, as_priorities, grown
from gnnflow.features.vertex_values import VertexValues

# Counts are kept in units of a use of long ago, so that a minibatch ages all of them by changing
# one number. Before that number leaves the range of float32, all counts are scaled once.
_LARGEST_UNIT = 2.0**64


class FrequencyScorer(Scorer):
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
        self._unit = 1.0
        self._rescaled = False
        self._counts: npt.NDArray[np.float64] = np.zeros(0, dtype=np.float64)

    def register(self, keys: Keys, ids: Ids) -> None:
        """Starts the counts, at 0 or at what the prior says."""
        self._counts = grown(self._counts, self.index.num_keys)
        self._counts[keys] = 0
        if self._prior is not None and self._factor < 1:
            probabilities = self._prior.at(ids).astype(np.float64)
            self._counts[keys] = probabilities * (self._unit / (1 - self._factor))

    def touch(self, keys: Keys, slots: Slots, minibatch: int) -> Priorities:
        """Ages all counts by one minibatch and counts the uses."""
        self._unit /= self._factor
        self._rescaled = self._unit > _LARGEST_UNIT
        if self._rescaled:
            self._counts /= self._unit
            self._unit = 1.0
        counts = self._counts[keys] + self._unit
        self._counts[keys] = counts
        return as_priorities(counts)

    def rescaled(self) -> bool:
        """Tells whether the last minibatch changed the unit of all counts."""
        return self._rescaled

    def priorities(self, keys: Keys) -> Priorities:
        """Returns the counts, in units that all vertices share."""
        return as_priorities(self._counts[keys])

    def forgettable(self, keys: Keys) -> npt.NDArray[np.bool_]:
        """Tells which counts are below a hundredth of a use."""
        return self._counts[keys] < 0.01 * self._unit

    @property
    def memory_bytes(self) -> int:
        """Size of the counts."""
        return self._counts.nbytes
