"""What a scorer is: it orders the rows of the halo cache, and nothing else."""

from abc import ABC, abstractmethod
from typing import ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from gnnflow._kernels import CacheIndex

Ids = npt.NDArray[np.int64]
Keys = npt.NDArray[np.int32]
Slots = npt.NDArray[np.int32]
Priorities = npt.NDArray[np.uint32]
ScalarT = TypeVar("ScalarT", bound=np.generic)


class Scorer(ABC):
    """Orders remote rows by how much they are worth keeping.

    Vertices are known by their key (see `CacheIndex`), so that what a scorer remembers of a vertex
    is an array by key. Priorities are unsigned numbers, the largest stay. Floats that are not
    negative keep their order when float32 is viewed as uint32 (`as_priorities`).

    The cache calls, for every minibatch: `register` for vertices it meets for the first time,
    `announce` once the minibatch is sampled (if `looks_ahead`), `touch` when its rows are asked
    for. A scorer that sets the priority of other vertices does so by `index.set_priorities`.
    """

    name: ClassVar[str]
    looks_ahead: ClassVar[bool] = False
    """Whether `announce` is of use."""
    fetches: ClassVar[bool] = False
    """Whether replacement rows are chosen by `replacements` and fetched, instead of being kept
    from the rows that arrive for the minibatch anyway."""

    index: CacheIndex

    def bind(self, index: CacheIndex) -> None:
        """Joins the scorer to the cache whose rows it orders; a scorer serves one cache."""
        self.index = index

    def register(self, keys: Keys, ids: Ids) -> None:  # noqa: B027 (most need nothing here)
        """Starts to remember vertices: these keys stand for these ids from now on."""

    def announce(self, keys: Keys) -> None:  # noqa: B027
        """Learns what a later minibatch will ask for, int32 `[n]`; minibatches come in order."""

    def retract(self, keys: Keys) -> None:  # noqa: B027
        """Forgets the oldest announced minibatch, int32 `[n]`: it will not come."""

    @abstractmethod
    def touch(self, keys: Keys, slots: Slots, minibatch: int) -> Priorities:
        """Notes that a minibatch asks for some rows.

        Args:
            keys: int32 `[n]`, distinct.
            slots: int32 `[n]`, where their rows lie, -1 for those that must be fetched.
            minibatch: Its number in the cache, growing.

        Returns:
            uint32 `[n]`, their priorities after this use.
        """

    @abstractmethod
    def priorities(self, keys: Keys) -> Priorities:
        """Returns the priorities of vertices as they are, uint32 `[n]`, without a use."""

    def fill(self, keys: Keys) -> Priorities:
        """Notes rows that are put in at the start and returns their priorities, uint32 `[n]`."""
        return self.priorities(keys)

    def rescaled(self) -> bool:
        """Tells whether `touch` changed the priorities of all vertices, not just of those given."""
        return False

    def replacements(self, fraction: float) -> tuple[Slots, Keys]:
        """Chooses rows to fetch and the slots they go to; only asked for if `fetches`.

        Args:
            fraction: Share of the exchange to carry out, best rows first, in [0, 1].

        Returns:
            The slots (free ones in order, then used ones) and the keys of vertices that are not
            cached, int32 `[k]` each.
        """
        raise NotImplementedError(f"{self.name} keeps rows that arrive, it asks for none")

    def replace(self, slots: Slots, keys: Keys) -> None:
        """Notes that the rows of these keys now lie in these slots; only called if `fetches`."""
        raise NotImplementedError(f"{self.name} keeps rows that arrive, it asks for none")

    def forgettable(self, keys: Keys) -> npt.NDArray[np.bool_]:
        """Tells which vertices, none of them cached, it can do without, bool `[n]`."""
        return np.ones(len(keys), dtype=np.bool_)

    @property
    def memory_bytes(self) -> int:
        """Size of what is remembered by vertex."""
        return 0


def as_priorities(values: npt.NDArray[np.floating]) -> Priorities:
    """Turns floats that are not negative into priorities of the same order."""
    return values.astype(np.float32, copy=False).view(np.uint32)


def grown(array: npt.NDArray[ScalarT], num_keys: int) -> npt.NDArray[ScalarT]:
    """Returns an array by key that has room for `num_keys` keys, new entries 0."""
    if num_keys <= len(array):
        return array
    longer = np.zeros(max(num_keys, len(array) * 3 // 2), dtype=array.dtype)
    longer[: len(array)] = array
    return longer
