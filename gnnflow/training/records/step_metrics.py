"""What each step of an epoch took and moved, on every rank."""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from gnnflow.comm import Context
from gnnflow.files.json_text import to_json_text
from gnnflow.process_memory import peak_memory_bytes
from gnnflow.traffic import Traffic

STEP_COLUMNS = {
    name: name
    for name in ("step", "num_seeds", "weight", "loss", "num_vertices", "num_edges")
    + ("sample_s", "fetch_s", "wait_s", "compute_s", "all_reduce_s")
    + ("rows_remote", "rows_cached", "rows_fetched", "bytes_fetched", "rows_filled", "rows_asked")
    + ("sample_exchanges", "sample_requests", "sample_bytes")
} | {
    "wait_s": "traffic.wait_s",
    "rows_remote": "traffic.rows_asked",
    "rows_cached": "traffic.rows_hit",
    "rows_fetched": "traffic.rows_fetched",
    "bytes_fetched": "traffic.bytes_fetched",
    "rows_filled": "traffic.rows_filled",
    "rows_asked": "feature_rows_asked",
}
"""Columns of `metrics.jsonl`, in order, and where `StepMetrics` has each of them."""
_NAMES = tuple(STEP_COLUMNS)
_WHOLE = {name for name in _NAMES if not name.endswith("_s")} - {"weight", "loss"}
_values = attrgetter(*STEP_COLUMNS.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class StepMetrics:
    """One step of one rank. Times are wall-clock seconds."""

    step: int
    num_seeds: int
    """Seeds of this rank's batch."""
    weight: float
    """Share of these seeds among all seeds of the step."""
    loss: float
    """Mean loss over this rank's seeds, 0 without seeds."""
    num_vertices: int
    """Vertices of the sampled subgraph."""
    num_edges: int
    """Edges of the sampled subgraph."""
    sample_s: float
    """Sampling, remote answers included."""
    fetch_s: float
    """Fetching and gathering rows."""
    compute_s: float
    """Forward, backward and optimizer, without the part of `all_reduce_s`."""
    all_reduce_s: float
    """From the first gradients handed over to the last ones summed."""
    traffic: Traffic
    """Rows of other ranks that the minibatch needed, of all arrays, and the wait for it."""
    feature_rows_asked: int = 0
    """Rows of features among those asked for: what the halo cache was asked for."""
    sample_exchanges: int = 0
    """Hops of which other ranks drew a part; minibatches that are sampled together share them."""
    sample_requests: int = 0
    """Messages that asked other ranks for neighbours."""
    sample_bytes: int = 0
    """Bytes of their answers."""

    @property
    def hit_rate(self) -> float | None:
        """Rows of features found in the halo cache over those asked for; None where none were."""
        asked = self.feature_rows_asked
        return self.traffic.rows_hit / asked if asked else None

    def columns(self) -> dict[str, float]:
        """Returns the numbers by the names that files and trackers know them by."""
        return dict(zip(_NAMES, _values(self), strict=True))

    @classmethod
    def from_columns(cls, columns: Mapping[str, float]) -> Self:
        """Rebuilds what `columns` gave."""
        own: dict[str, Any] = {}
        traffic: dict[str, Any] = {}
        for name, number in columns.items():
            where, _, field = STEP_COLUMNS[name].rpartition(".")
            values = traffic if where else own
            values[field] = int(number) if name in _WHOLE else number
        del traffic["rows_fetched"]  # follows from the others
        return cls(traffic=Traffic(**traffic), **own)


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochMetrics:
    """An epoch over all ranks: times of the slowest rank, sums of what was moved."""

    epoch: int
    loss: float
    """Mean loss over all seeds of the job."""
    epoch_time_s: float
    """Seconds from the first minibatch asked for to the last optimizer step."""
    sample_s: float
    fetch_s: float
    wait_s: float
    compute_s: float
    all_reduce_s: float
    hit_rate: float | None
    """Remote rows of features found in the halo cache over those needed; None where none were."""
    volume_rows: int
    """Rows that crossed between ranks, those fetched only to fill the halo cache included."""
    volume_bytes: int
    rows_without_cache: int
    """Remote rows needed: what would have crossed without a halo cache."""
    peak_memory_bytes: int
    """Largest resident memory that a rank had so far."""
    fill_rows: int = 0
    """Rows among those that crossed that were fetched only to fill the halo cache."""
    sample_exchanges: int = 0
    """Hops of minibatches of which other ranks drew a part."""
    sample_requests: int = 0
    """Messages that asked other ranks for neighbours."""
    sample_bytes: int = 0
    """Bytes of their answers; they do not count in `volume_bytes`, which is rows."""
    nan_losses: int = 0
    """Losses, one for each step of each rank, that were NaN or infinite."""


class LineSink(Protocol):
    """Takes lines of text, as an open file does."""

    def write(self, lines: str, /) -> object:
        """Adds lines."""


class EpochRecorder:
    """Collects the steps of an epoch and puts the ranks' records together at its end."""

    def __init__(self, ctx: Context, sink: LineSink | None = None) -> None:
        """Takes the job and, on rank 0, what takes the lines of `metrics.jsonl`."""
        self._ctx = ctx
        self._sink = sink
        self._steps: list[StepMetrics] = []
        self._job_losses: list[float] = []
        self._first_nan: tuple[int, int] | None = None
        self._elapsed_before_s = 0.0

    def write_to(self, sink: LineSink) -> None:
        """Sets what takes the lines of `metrics.jsonl`."""
        self._sink = sink

    def restart(self) -> None:
        """Forgets the steps of an unfinished epoch."""
        self._steps = []
        self._elapsed_before_s = 0.0

    def state_dict(self) -> dict[str, Any]:
        """The steps of the unfinished epoch, `[num_steps, num_fields]`, and names of the fields."""
        return {"fields": list(_NAMES), "steps": self._table()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes on the steps of an unfinished epoch, to which further ones are added."""
        names, rows = state_dict["fields"], state_dict["steps"].tolist()
        self._steps = [StepMetrics.from_columns(dict(zip(names, row, strict=True))) for row in rows]
        self._elapsed_before_s = sum(
            step.traffic.wait_s + step.compute_s + step.all_reduce_s for step in self._steps
        )

    @property
    def job_losses(self) -> list[float]:
        """Mean loss over all seeds of the job in each step of the last finished epoch."""
        return self._job_losses

    @property
    def first_nan(self) -> tuple[int, int] | None:
        """Step and rank of the first loss of the last finished epoch that was no number."""
        return self._first_nan

    def add(self, metrics: StepMetrics) -> None:
        """Adds a step of this rank."""
        self._steps.append(metrics)

    def finish(self, epoch: int, epoch_time_s: float) -> EpochMetrics:
        """Puts the epoch together; all ranks call this.

        Rank 0 writes one line per step and rank.
        """
        own = self._table()
        epoch_time_s += self._elapsed_before_s
        self.restart()
        # [num_ranks, num_steps, num_fields]; all ranks take the same number of steps.
        table = np.stack(self._ctx.allgather_array(own))
        facts = np.array([epoch_time_s, peak_memory_bytes()])
        slowest, peak = np.max(self._ctx.allgather_array(facts), axis=0)
        if self._sink is not None:
            self._write(epoch, table, self._sink)
        self._job_losses = (_column(table, "weight") * _column(table, "loss")).sum(0).tolist()
        # By step, then by rank.
        nan_losses = np.argwhere(~np.isfinite(_column(table, "loss").T)).tolist()
        self._first_nan = (nan_losses[0][0], nan_losses[0][1]) if nan_losses else None
        num_seeds = _column(table, "num_seeds").sum(0)
        remote = int(_column(table, "rows_remote").sum())
        asked = int(_column(table, "rows_asked").sum())
        cached = int(_column(table, "rows_cached").sum())
        times = {
            name: float(_column(table, name).sum(1).max(initial=0.0))
            for name in _NAMES
            if name.endswith("_s")
        }
        return EpochMetrics(
            epoch=epoch,
            loss=float(np.dot(self._job_losses, num_seeds) / max(num_seeds.sum(), 1)),
            epoch_time_s=float(slowest),
            hit_rate=cached / asked if asked else None,
            volume_rows=int(_column(table, "rows_fetched").sum()),
            volume_bytes=int(_column(table, "bytes_fetched").sum()),
            rows_without_cache=remote,
            fill_rows=int(_column(table, "rows_filled").sum()),
            sample_exchanges=int(_column(table, "sample_exchanges").sum()),
            sample_requests=int(_column(table, "sample_requests").sum()),
            sample_bytes=int(_column(table, "sample_bytes").sum()),
            peak_memory_bytes=int(peak),
            nan_losses=len(nan_losses),
            **times,
        )

    def _table(self) -> NDArray[np.float64]:
        """`[num_steps, num_fields]` of this rank."""
        own = np.array([_values(step) for step in self._steps], dtype=np.float64)
        return own.reshape(len(self._steps), len(_NAMES))

    def _write(self, epoch: int, table: NDArray[np.float64], sink: LineSink) -> None:
        lines = []
        for step in range(table.shape[1]):
            for rank in range(table.shape[0]):
                line: dict[str, float | None] = {"epoch": epoch, "rank": rank}
                for name, value in zip(_NAMES, table[rank, step].tolist(), strict=True):
                    line[name] = int(value) if name in _WHOLE else round(value, 9)
                asked, cached = line["rows_asked"], line["rows_cached"]
                line["hit_rate"] = (
                    round(cached / asked, 6) if asked and cached is not None else None
                )
                lines.append(to_json_text(line) + "\n")
        sink.write("".join(lines))


def _column(table: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """`[num_ranks, num_steps]` values of one field."""
    return table[:, :, _NAMES.index(name)]
