"""What a scorer is, it orders the rows of the halo cache; and those whose order is a kernel."""

from abc import ABC, abstractmethod
from typing import ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from gnnflow._kernels import CacheBooks, CacheIndex
from gnnflow.array_types import Keys, Slots
from gnnflow.cache.vertex_values import VertexValues
from gnnflow.errors import ConfigError

ScalarT = TypeVar("ScalarT", bound=np.generic)


class Scorer(ABC):
    """Orders remote rows by how much they are worth keeping.

    There are two kinds: those that keep the best of cached and arrived rows (`RowOrder`), and those
    that choose rows to be fetched (`ReplacementScorer`).
    """

    name: ClassVar[str]
    looks_ahead: ClassVar[bool] = False
    """Whether it makes use of minibatches that are announced."""
    fetches: ClassVar[bool] = False
    """Whether rows are fetched only to fill the cache."""

    @property
    @abstractmethod
    def index(self) -> CacheIndex:
        """What the cache knows of its vertices."""

    @property
    def memory_bytes(self) -> int:
        """Size of what is remembered by vertex besides the index."""
        return 0


class RowOrder(Scorer):
    """Gives every vertex a priority; of cached and arrived rows those with the largest stay.

    The order itself is a kernel, so that a minibatch costs one call.
    """

    books: CacheBooks

    @abstractmethod
    def make_books(self, capacity: int, num_vertices: int, looks_ahead: bool) -> CacheBooks:
        """Makes the books of a cache that keeps this order.

        Args:
            capacity: Number of rows.
            num_vertices: Vertices of the graph, 0 if not known.
            looks_ahead: Whether vertices that announced minibatches ask for come before all others,
                the soonest first.
        """

    def bind(self, capacity: int, num_vertices: int) -> CacheBooks:
        """Starts the books of a cache; a scorer serves one cache at a time."""
        self.books = self.make_books(capacity, num_vertices, self.looks_ahead)
        return self.books

    @property
    def index(self) -> CacheIndex:
        """The books."""
        return self.books


class ReplacementScorer(Scorer):
    """Chooses rows to fetch and the slots that they go to.

    Vertices are known by their key (see `CacheIndex`), so that what a scorer remembers of a vertex
    is an array by key. The cache calls, for every minibatch, `register` for vertices it meets for
    the first time, `touch` when the rows are asked for, and then, if rows may be replaced,
    `replacements` and `replace`.
    """

    fetches = True
    _index: CacheIndex

    def bind(self, index: CacheIndex) -> None:
        """Joins the scorer to the cache whose rows it orders; a scorer serves one cache."""
        self._index = index

    @property
    def index(self) -> CacheIndex:
        """What `bind` was given."""
        return self._index

    @abstractmethod
    def register(self, keys: Keys) -> None:
        """Starts to remember vertices that were not known."""

    @abstractmethod
    def fill(self, keys: Keys) -> None:
        """Notes rows that are put in at the start."""

    @abstractmethod
    def touch(self, keys: Keys, slots: Slots) -> None:
        """Notes that a minibatch asks for some rows.

        Args:
            keys: int32 `[n]`, distinct.
            slots: int32 `[n]`, where their rows lie, -1 for those that must be fetched.
        """

    @abstractmethod
    def replacements(self, fraction: float) -> tuple[Slots, Keys]:
        """Chooses rows to fetch and the slots they go to.

        Args:
            fraction: Share of the exchange to carry out, best rows first, in [0, 1].

        Returns:
            The slots (free ones in order, then used ones) and the keys of vertices that are not
            cached, int32 `[k]` each.
        """

    @abstractmethod
    def replace(self, slots: Slots, keys: Keys) -> None:
        """Notes that the rows of these keys now lie in these slots."""


def grown(array: npt.NDArray[ScalarT], num_keys: int) -> npt.NDArray[ScalarT]:
    """Returns an array by key that has room for `num_keys` keys, new entries 0."""
    if num_keys <= len(array):
        return array
    longer = np.zeros(max(num_keys, len(array) * 3 // 2), dtype=array.dtype)
    longer[: len(array)] = array
    return longer


class LruScorer(RowOrder):
    """Least recently used rows go first."""

    name = "lru"

    def make_books(self, capacity: int, num_vertices: int, looks_ahead: bool) -> CacheBooks:
        """Orders by the minibatch of the last use."""
        return CacheBooks.by_last_use(capacity, num_vertices, looks_ahead)


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
