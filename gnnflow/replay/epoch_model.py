"""How long an epoch takes on other links, with other caches and numbers of ranks: a small model.

A minibatch goes through three stages, each of which does one minibatch at a time: sampling,
fetching and training. With `depth` minibatches of prefetching, fetching may run that far ahead;
without, the stages follow each other. Ranks wait for each other at the end of every step, in the
all-reduce.

Fetching takes a time for each minibatch that does not depend on its size, and the bytes over the
link's rate; both are fitted from the trace, as the line that is nearest to its fetch times. Stages
that share cores do not overlap as well as the model has it; what share of the possible overlap a
run had is fitted as well.

What it does not know: other jobs on the links, what sampling other ranks' vertices costs on other
links (it is part of the sampling times), and how a cut into more parts looks. With more ranks the
remote rows of a minibatch are taken to grow as `1 - 1 / ranks`, which a random cut would do; a good
cut has fewer in both cases.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gnnflow.array_types import FloatArray
from gnnflow.config import DEFAULT_DEPTH
from gnnflow.errors import DataError
from gnnflow.replay.trace import Trace, TraceFacts


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkModel:
    """What fetching costs."""

    latency_s: float
    """Seconds of a minibatch's exchange whatever its size."""
    bytes_per_s: float
    """Rate at which rows come in; infinite if the trace shows no influence of size."""

    def fetch_s(self, num_bytes: FloatArray) -> FloatArray:
        """Returns the seconds that fetches of some bytes take."""
        return self.latency_s + num_bytes / self.bytes_per_s


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochPrediction:
    """Seconds of an epoch, as the slowest rank sees them."""

    epoch_s: float
    """All of it."""
    sample_s: float
    """Sampling, hidden or not."""
    fetch_s: float
    """Fetching, hidden or not."""
    train_s: float
    """Forward, backward and all-reduce."""
    num_steps: int
    """Minibatches of a rank."""
    bytes_fetched: float
    """Bytes that all ranks fetch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochModel:
    """Times per step of all ranks, `[num_steps, num_ranks]` each, and what fetching costs."""

    sample_s: FloatArray
    """Sampling."""
    train_s: FloatArray
    """Forward and backward, without the all-reduce."""
    all_reduce_s: float
    """Mean seconds of the all-reduce where the trace was recorded."""
    bytes_fetched: FloatArray
    """Bytes that each minibatch fetched."""
    link: LinkModel
    """What fetching costs."""
    depth: int
    """Minibatches of prefetching."""
    overlap: float
    """Share of the possible overlap that the run had, in [0, 1]."""
    num_train_seeds: int
    """Train seeds of all ranks."""
    batch_size: int
    """Seeds of one rank in one minibatch."""
    gradient_bytes: int
    """Size of the gradients."""
    measured_s: float
    """Mean seconds of a recorded epoch, evaluation not included."""

    @property
    def num_ranks(self) -> int:
        """Ranks of the recorded run."""
        return int(self.sample_s.shape[1])

    @classmethod
    def fit(cls, traces: Sequence[Trace]) -> "EpochModel":
        """Fits the model to the traces of all ranks of a run.

        The first epoch, in which caches fill and files are read, is left out if there are others.

        Raises:
            DataError: If the traces hold no times, or ranks took different numbers of steps.
        """
        epochs = [trace.columns["epoch"] for trace in traces]
        if any(not np.array_equal(epochs[0], other) for other in epochs[1:]):
            raise DataError("ranks of a run take the same steps; these traces do not fit together")
        chosen = epochs[0] > epochs[0].min(initial=0)
        if not chosen.any():
            chosen = np.ones(len(epochs[0]), dtype=np.bool_)

        def column(name: str) -> FloatArray:
            return np.stack([trace.columns[name][chosen] for trace in traces], axis=1).astype(float)

        train_s, all_reduce_s = column("train_s"), column("all_reduce_s")
        if not train_s.size or not train_s.any():
            raise DataError(
                "the traces hold no times, so epochs cannot be predicted; record them in training "
                "with --trace"
            )
        bytes_fetched, fetch_s = column("moved_bytes"), column("fetch_s")
        facts = traces[0].facts
        num_epochs = len(np.unique(epochs[0][chosen]))
        model = cls(
            sample_s=column("sample_s"),
            train_s=train_s,
            all_reduce_s=float(all_reduce_s.min(axis=1).mean()),
            bytes_fetched=bytes_fetched,
            link=_fit_link(bytes_fetched.ravel(), fetch_s.ravel()),
            depth=_depth_of(facts),
            overlap=1.0,
            num_train_seeds=facts.num_train_seeds,
            batch_size=facts.batch_size,
            gradient_bytes=facts.gradient_bytes,
            measured_s=float((column("wait_s") + train_s + all_reduce_s).sum(axis=0).max())
            / num_epochs,
        )
        return model._with(overlap=model._fitted_overlap(num_epochs))

    def predict(
        self,
        *,
        num_ranks: int | None = None,
        bytes_per_s: float | None = None,
        latency_s: float | None = None,
        relative_volume: float = 1.0,
        depth: int | None = None,
    ) -> EpochPrediction:
        """Estimates an epoch.

        Args:
            num_ranks: Ranks of the job; by default those of the trace.
            bytes_per_s: Rate of each rank's link; by default as fitted.
            latency_s: Seconds of a fetch whatever its size; by default as fitted.
            relative_volume: Bytes fetched over those of the trace, as another cache would have it.
            depth: Minibatches of prefetching; by default as in the trace.
        """
        ranks = num_ranks or self.num_ranks
        link = LinkModel(
            latency_s=self.link.latency_s if latency_s is None else latency_s,
            bytes_per_s=self.link.bytes_per_s if bytes_per_s is None else bytes_per_s,
        )
        steps = self._steps_per_epoch(ranks)
        growth = _remote_share(ranks) / max(_remote_share(self.num_ranks), 1e-9)
        if self.num_ranks == ranks:
            growth = 1.0
        # Recorded steps stand for those of the epoch; of other ranks, the recorded ones again.
        rows = np.arange(steps) % len(self.sample_s)
        columns = np.arange(min(ranks, 4 * self.num_ranks)) % self.num_ranks
        pick = np.ix_(rows, columns)
        moved = self.bytes_fetched[pick] * (relative_volume * growth)
        sample_s, train_s = self.sample_s[pick], self.train_s[pick]
        fetch_s = link.fetch_s(moved)
        all_reduce_s = self._all_reduce_s(ranks, bytes_per_s, latency_s)
        depth = self.depth if depth is None else depth
        return EpochPrediction(
            epoch_s=self._epoch_s(sample_s, fetch_s, train_s, all_reduce_s, depth, self.overlap),
            sample_s=float(sample_s.sum(axis=0).max()),
            fetch_s=float(fetch_s.sum(axis=0).max()),
            train_s=float(train_s.max(axis=1).sum() + steps * all_reduce_s),
            num_steps=steps,
            bytes_fetched=float(moved.sum()) * ranks / len(columns),
        )

    def _with(self, *, overlap: float) -> "EpochModel":
        values = {name: getattr(self, name) for name in self.__slots__}
        return EpochModel(**values | {"overlap": overlap})

    def _steps_per_epoch(self, num_ranks: int) -> int:
        seeds_per_step = num_ranks * max(self.batch_size, 1)
        return max(1, math.ceil(self.num_train_seeds / seeds_per_step))

    def _all_reduce_s(
        self, num_ranks: int, bytes_per_s: float | None, latency_s: float | None
    ) -> float:
        """What was recorded, in as many rounds as the ranks need, and what a given link adds."""
        if num_ranks == 1:
            return 0.0
        rounds = math.log2(num_ranks)
        seconds = self.all_reduce_s * rounds / max(math.log2(self.num_ranks), 1)
        if bytes_per_s is not None:
            # A ring: every rank sends and receives each part of the gradients nearly twice.
            seconds += 2 * (num_ranks - 1) / num_ranks * self.gradient_bytes / bytes_per_s
        if latency_s is not None:
            seconds += 2 * rounds * latency_s
        return seconds

    @staticmethod
    def _epoch_s(
        sample_s: FloatArray,
        fetch_s: FloatArray,
        train_s: FloatArray,
        all_reduce_s: float,
        depth: int,
        overlap: float,
    ) -> float:
        one_by_one = (sample_s + fetch_s + train_s).max(axis=1).sum() + len(train_s) * all_reduce_s
        if depth == 0:
            return float(one_by_one)
        overlapped = _overlapped(sample_s, fetch_s, train_s + all_reduce_s, depth)
        return float(overlap * overlapped + (1 - overlap) * one_by_one)

    def _fitted_overlap(self, num_epochs: int) -> float:
        """The share that makes the model agree with the recorded epochs."""
        if self.depth == 0:
            return 1.0
        arguments = (
            self.sample_s,
            self.link.fetch_s(self.bytes_fetched),
            self.train_s,
            self.all_reduce_s,
            self.depth,
        )
        best, worst = (self._epoch_s(*arguments, overlap) / num_epochs for overlap in (1.0, 0.0))
        if worst <= best:
            return 1.0
        return min(1.0, max(0.0, (worst - self.measured_s) / (worst - best)))


def _depth_of(facts: TraceFacts) -> int:
    depth = facts.settings.get("prefetch_depth")
    if depth is None:
        return DEFAULT_DEPTH if facts.num_ranks > 1 else 0
    return int(depth)


def _remote_share(num_ranks: int) -> float:
    return 1 - 1 / num_ranks


def _overlapped(
    sample_s: FloatArray, fetch_s: FloatArray, train_s: FloatArray, depth: int
) -> float:
    """Seconds of three stages that run side by side, ranks in step with each other."""
    num_steps, num_ranks = sample_s.shape
    sampled = np.zeros(num_ranks)
    fetched = np.zeros(num_ranks)
    trained = np.zeros(num_steps)
    for step in range(num_steps):
        room = trained[step - depth - 1] if step > depth else 0.0
        sampled = sampled + sample_s[step]
        fetched = np.maximum(np.maximum(fetched, sampled), room) + fetch_s[step]
        begin = np.maximum(fetched, trained[step - 1] if step else 0.0)
        trained[step] = float((begin + train_s[step]).max())
    return float(trained[-1])


def _fit_link(num_bytes: FloatArray, seconds: FloatArray) -> LinkModel:
    """The nearest line with a latency and a rate that are not negative."""
    if np.ptp(num_bytes) == 0:
        return LinkModel(latency_s=float(seconds.mean()), bytes_per_s=math.inf)
    slope, start = np.polyfit(num_bytes, seconds, 1)
    if start < 0:
        start, slope = 0.0, float((seconds * num_bytes).sum() / np.square(num_bytes).sum())
    if slope <= 0:
        return LinkModel(latency_s=float(seconds.mean()), bytes_per_s=math.inf)
    return LinkModel(latency_s=float(start), bytes_per_s=float(1 / slope))
