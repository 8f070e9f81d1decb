"""Which seed vertices each step of an epoch takes, as a pure function."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gnnflow.comm import Context
from gnnflow.errors import DataError
from gnnflow.loader.arguments import as_array, as_whole_number
from gnnflow.sampling import SampledSubgraph


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedBatch:
    """The seeds of one rank in one step."""

    epoch: int
    step: int

    minibatch: int
    """Job-wide number of the minibatch, `step * num_ranks + rank`."""

    seeds: NDArray[np.int64]
    """Global ids, unique; may be empty."""

    input_id: NDArray[np.int64]
    """Positions of the seeds in the list that the schedule was made from."""

    num_job_seeds: int
    """Seeds of all ranks in this step."""

    @property
    def weight(self) -> float:
        """This rank's share of the step's seeds, which its mean loss and gradient count with."""
        return len(self.seeds) / self.num_job_seeds if self.num_job_seeds else 0.0

    def attributes(self) -> dict[str, Any]:
        """What the minibatch holds besides vertices and edges, by name."""
        return {}

    def prepare(self, subgraph: SampledSubgraph) -> SampledSubgraph:
        """The subgraph that the minibatch takes of the one that was sampled for its seeds."""
        return subgraph


@runtime_checkable
class Schedule(Protocol):
    """Says what each step of an epoch takes, the same number of steps on all ranks."""

    @property
    def num_steps(self) -> int:
        """Steps of an epoch."""

    @property
    def seeds(self) -> NDArray[np.int64]:
        """Global ids of this rank's seeds, or of vertices that may be."""

    @property
    def digest(self) -> str:
        """Equal for schedules that take the same in every step of every epoch, in hex."""

    def weight(self, step: int) -> float:
        """This rank's share of a step."""

    def batch(self, epoch: int, step: int) -> SeedBatch:
        """What this rank takes in one step."""


class SeedSchedule:
    """Splits the seeds of a rank over the steps of an epoch.

    Every rank takes the same number of steps and spreads its own seeds evenly over them, so a
    batch may be smaller than the others, larger than the nominal batch size where seeds are
    distributed unevenly, or empty. The order of an epoch depends on seed, epoch and rank alone:
    `batch` may be asked for any step in any order and from any thread.
    """

    def __init__(
        self,
        seeds: NDArray[np.int64],
        bounds: NDArray[np.int64],
        num_job_seeds: NDArray[np.int64],
        *,
        rank: int,
        num_ranks: int,
        shuffle: bool,
        seed: int,
    ) -> None:
        """Takes the split as it is; `split_evenly` and `from_batches` make one.

        Args:
            seeds: `[num_seeds]` global ids of this rank.
            bounds: `[num_steps + 1]` positions at which the seeds are cut into steps.
            num_job_seeds: `[num_steps]` seeds of all ranks in each step.
            rank: this rank.
            num_ranks: ranks of the job.
            shuffle: a new order each epoch.
            seed: seed of the order.
        """
        self._seeds = seeds
        self._bounds = bounds
        self._num_job_seeds = num_job_seeds
        self._rank = rank
        self._num_ranks = num_ranks
        self._shuffle = shuffle
        self._seed = seed
        # Two epochs: a pipeline that runs ahead works on the next one while this one ends.
        self._order = lru_cache(maxsize=2)(self._compute_order)

    @classmethod
    def split_evenly(
        cls,
        seeds: ArrayLike,
        ctx: Context,
        *,
        batch_size: int,
        shuffle: bool = True,
        seed: int = 0,
    ) -> "SeedSchedule":
        """Splits each rank's seeds evenly over `ceil(total / (num_ranks * batch_size))` steps.

        Every rank must call this.

        Args:
            seeds: `[num_seeds]` global ids of this rank's seeds, unique.
            ctx: the job.
            batch_size: seeds of one rank in one step, on average over the ranks.
            shuffle: a new order each epoch.
            seed: seed of the order.

        Raises:
            ConfigError: if `batch_size` is no whole number or below 1.
            DataError: if a seed appears twice.
        """
        batch_size = as_whole_number("batch_size", batch_size, least=1)
        ids = _as_unique_ids(seeds)
        counts = np.concatenate(ctx.allgather_array(np.array([len(ids)], dtype=np.int64)))
        return cls.of_rank(ids, counts, ctx.rank, batch_size=batch_size, shuffle=shuffle, seed=seed)

    @classmethod
    def of_rank(
        cls,
        seeds: NDArray[np.int64],
        counts: NDArray[np.int64],
        rank: int,
        *,
        batch_size: int,
        shuffle: bool = True,
        seed: int = 0,
    ) -> "SeedSchedule":
        """The schedule that `split_evenly` gives a rank of a job, which need not run.

        Args:
            seeds: int64 `[num_seeds]`, global ids of the rank's seeds, unique.
            counts: int64 `[num_ranks]`, how many seeds each rank has.
            rank: the rank.
            batch_size: seeds of one rank in one step, on average over the ranks.
            shuffle: a new order each epoch.
            seed: seed of the order.
        """
        num_steps = -(-int(counts.sum()) // (len(counts) * batch_size))
        cuts = np.arange(num_steps + 1, dtype=np.int64)[:, None] * counts // max(num_steps, 1)
        return cls(
            seeds,
            cuts[:, rank],
            np.diff(cuts, axis=0).sum(axis=1),
            rank=rank,
            num_ranks=len(counts),
            shuffle=shuffle,
            seed=seed,
        )

    @classmethod
    def from_batches(cls, batches: Sequence[ArrayLike], ctx: Context) -> "SeedSchedule":
        """Takes the seeds of every step as given, the same in each epoch.

        Every rank must call this, with as many batches as the others.

        Args:
            batches: for each step the global ids of this rank's seeds, unique within the step.
            ctx: the job.

        Raises:
            DataError: if ranks give different numbers of batches or a seed appears twice in one.
        """
        ids = [_as_unique_ids(batch) for batch in batches]
        sizes = np.array([len(batch) for batch in ids], dtype=np.int64)
        gathered = ctx.allgather_array(sizes)
        lengths = [len(array) for array in gathered]
        if len(set(lengths)) > 1:
            raise DataError(
                f"every rank must give the same number of seed batches, got {lengths}; "
                "fill up with empty ones"
            )
        return cls(
            np.concatenate([np.empty(0, dtype=np.int64), *ids]),
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            np.sum(gathered, axis=0, dtype=np.int64),
            rank=ctx.rank,
            num_ranks=ctx.num_ranks,
            shuffle=False,
            seed=0,
        )

    @property
    def num_steps(self) -> int:
        """Steps of an epoch, the same on all ranks."""
        return len(self._num_job_seeds)

    @property
    def num_seeds(self) -> int:
        """Seeds of this rank."""
        return len(self._seeds)

    @property
    def seeds(self) -> NDArray[np.int64]:
        """`[num_seeds]` global ids of this rank's seeds, in the order they were given."""
        return self._seeds

    @property
    def max_batch_size(self) -> int:
        """Seeds in this rank's largest batch."""
        return int(np.diff(self._bounds).max(initial=0))

    @property
    def digest(self) -> str:
        """Equal for schedules that take the same seeds in every step of every epoch, in hex."""
        about = [self._rank, self._num_ranks, self._shuffle, self._seed if self._shuffle else 0]
        digest = hashlib.sha256(repr(about).encode())
        for array in (self._seeds, self._bounds, self._num_job_seeds):
            digest.update(array.tobytes())
        return digest.hexdigest()

    def size(self, step: int) -> int:
        """Seeds of this rank in a step, the same in every epoch."""
        return int(self._bounds[step + 1] - self._bounds[step])

    def weight(self, step: int) -> float:
        """This rank's share of a step's seeds, the same in every epoch."""
        num_job_seeds = int(self._num_job_seeds[step])
        return self.size(step) / num_job_seeds if num_job_seeds else 0.0

    def batch(self, epoch: int, step: int) -> SeedBatch:
        """The seeds of one step.

        Args:
            epoch: number of the epoch, from 0.
            step: number of the step within the epoch.

        Raises:
            IndexError: if the epoch has no such step.
        """
        if not 0 <= step < self.num_steps:
            raise IndexError(f"step must be in [0, {self.num_steps}), got {step}")
        cut = slice(int(self._bounds[step]), int(self._bounds[step + 1]))
        positions = self._order(epoch)[cut]
        return SeedBatch(
            epoch=epoch,
            step=step,
            minibatch=step * self._num_ranks + self._rank,
            seeds=self._seeds[positions],
            input_id=positions,
            num_job_seeds=int(self._num_job_seeds[step]),
        )

    def _compute_order(self, epoch: int) -> NDArray[np.int64]:
        if not self._shuffle:
            return np.arange(len(self._seeds), dtype=np.int64)
        # Sorting raw 64-bit draws, because the raw stream of Philox is fixed for good while the
        # stream behind Generator.permutation may change between releases of NumPy.
        generator = np.random.Philox(key=[self._seed % 2**64, (epoch << 32) | self._rank])
        draws = generator.random_raw(len(self._seeds))
        return np.argsort(draws, kind="stable").astype(np.int64, copy=False)


def _as_unique_ids(seeds: ArrayLike) -> NDArray[np.int64]:
    array = as_array("seeds", seeds)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise DataError(
            f"seeds must be a list of whole vertex ids, got shape {list(array.shape)} "
            f"of {array.dtype}"
        )
    ids: NDArray[np.int64] = array.astype(np.int64)
    ordered = np.sort(ids)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if repeated.size:
        raise DataError(f"seeds must be unique, but vertex {repeated[0]} appears more than once")
    return ids
