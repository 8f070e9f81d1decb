"""A number for each of some vertices, for example the probability that a minibatch needs them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gnnflow.errors import DataError


@dataclass(frozen=True, slots=True)
class VertexValues:
    """Numbers by global id; a vertex that is not listed has 0."""

    ids: npt.NDArray[np.int64]
    """int64 `[n]`, ascending, distinct, not negative."""
    values: npt.NDArray[np.float32]
    """float32 `[n]`, not negative."""

    def __post_init__(self) -> None:
        """Checks shapes, order and range.

        Raises:
            DataError: If ids are not ascending or negative, or a value is negative or not finite.
        """
        if self.ids.shape != self.values.shape or self.ids.ndim != 1:
            raise DataError(
                f"vertex values need one value per id, got ids of shape {self.ids.shape} and "
                f"values of shape {self.values.shape}"
            )
        if (np.diff(self.ids) <= 0).any() or (self.ids[:1] < 0).any():
            raise DataError(
                "ids of vertex values must be ascending, distinct and not negative; sort them"
            )
        if not (np.isfinite(self.values).all() and (self.values >= 0).all()):
            raise DataError("vertex values must be finite and not negative")

    def __len__(self) -> int:
        """Number of vertices listed."""
        return len(self.ids)

    def at(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Returns the value of each id.

        Args:
            ids: int64 `[n]`, in any order.

        Returns:
            float32 `[n]`.
        """
        if len(self.ids) == 0:
            return np.zeros(len(ids), dtype=np.float32)
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        found = self.ids[places] == ids
        return np.where(found, self.values[places], np.float32(0))

    def best(self, num: int) -> npt.NDArray[np.int64]:
        """Returns the ids of the largest positive values, best first; the smaller id on a tie."""
        positive = np.flatnonzero(self.values > 0)
        order = np.lexsort((self.ids[positive], -self.values[positive]))
        return self.ids[positive[order[:num]]]
