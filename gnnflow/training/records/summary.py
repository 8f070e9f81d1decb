"""What a run and its policy came to: `summary.json` for machines and tables for people."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gnnflow.comm import Context
from gnnflow.config import TrainConfig
from gnnflow.files.json_text import to_json_text
from gnnflow.files.whole_file import write_whole
from gnnflow.loader import DistNeighborLoader
from gnnflow.policies import DecisionStatistics
from gnnflow.policies.rivals import RIVALS
from gnnflow.terminal import Table
from gnnflow.training.machine_use import MemoryUse
from gnnflow.training.records.step_metrics import EpochMetrics
from gnnflow.units import human_bytes

SUMMARY_FILE = "summary.json"
Scores = Mapping[str, float | None]
_MAX_ERRORS = 5
_OWN_SITUATIONS = (
    "Pass@1 is over the situations of this run; another policy meets others, so compare it with "
    "its rivals here, and policies by the rows that they move."
)
_SHARES = (
    ("valid_share", "Valid"),
    ("stale_share", "Stale"),
    ("failed_share", "Failed"),
    ("timeout_share", "Late"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary:
    """A finished run over all ranks."""

    graph: str
    model: str
    num_ranks: int
    score_name: str
    """What the scores are: `accuracy`, `micro-F1` or `R2`."""
    scores: Scores
    """Score of the final model on each split, over all neighbours."""
    epochs: Sequence[EpochMetrics]
    epoch_scores: Sequence[Scores]
    """Scores after each epoch; empty where nothing was evaluated."""
    total_time_s: float
    """Seconds from the opened graph to the last evaluation."""
    config: Mapping[str, Any]
    """The options of the run."""
    all_scores: Mapping[str, Scores] = field(default_factory=dict)
    """All scores of the final model by name, for each split."""
    stopped_early: bool = False
    """Whether the validation score had not risen for long enough to stop."""
    policy: Mapping[str, Any] = field(default_factory=dict)
    """Who decided when rows of the halo cache were replaced, and how well."""
    folder: Path | None = None
    """Where it lies."""
    topology_bytes: int = 0
    """Largest memory of a rank's neighbour lists, those of `halo_hops` included; 0 where they stay
    mapped files."""
    halo_hops: int = 0
    """Hops beyond the parts whose neighbour lists every rank holds."""
    memory: MemoryUse = field(default_factory=MemoryUse)
    """What the peak memory is made of, besides model and activations."""

    @property
    def epoch_time_s(self) -> float:
        """Median seconds of an epoch, evaluation left out."""
        return statistics.median(epoch.epoch_time_s for epoch in self.epochs)

    @property
    def volume_rows(self) -> int:
        """Rows that crossed between ranks in all epochs."""
        return sum(epoch.volume_rows for epoch in self.epochs)

    @property
    def volume_bytes(self) -> int:
        """Bytes of these rows."""
        return sum(epoch.volume_bytes for epoch in self.epochs)

    @property
    def rows_without_cache(self) -> int:
        """Rows that would have crossed without a halo cache."""
        return sum(epoch.rows_without_cache for epoch in self.epochs)

    @property
    def sample_exchanges(self) -> int:
        """Hops of minibatches, of all ranks and epochs, that had to ask other ranks."""
        return sum(epoch.sample_exchanges for epoch in self.epochs)

    @property
    def sample_bytes(self) -> int:
        """Bytes of neighbours that other ranks drew."""
        return sum(epoch.sample_bytes for epoch in self.epochs)

    @property
    def hit_rate(self) -> float | None:
        """Remote rows found in the halo cache, as a share; None where none were needed."""
        hits = [epoch.hit_rate for epoch in self.epochs if epoch.hit_rate is not None]
        needed = [epoch.rows_without_cache for epoch in self.epochs if epoch.hit_rate is not None]
        if not sum(needed):
            return None
        return sum(rate * rows for rate, rows in zip(hits, needed, strict=True)) / sum(needed)

    @property
    def nan_losses(self) -> int:
        """Losses, one for each step of each rank, that were NaN or infinite."""
        return sum(epoch.nan_losses for epoch in self.epochs)

    @property
    def peak_memory_bytes(self) -> int:
        """Largest resident memory of a rank."""
        return max(epoch.peak_memory_bytes for epoch in self.epochs)

    def as_json(self) -> dict[str, Any]:
        """The content of `summary.json`: totals of the run, then `epochs` with the same names."""
        return {
            "graph": self.graph,
            "model": self.model,
            "num_ranks": self.num_ranks,
            "score": self.score_name,
            **_accuracies(self.scores),
            "scores": self.all_scores,
            "stopped_early": self.stopped_early,
            "epoch_time_s": self.epoch_time_s,
            "total_time_s": self.total_time_s,
            "hit_rate": self.hit_rate,
            "volume_rows": self.volume_rows,
            "volume_bytes": self.volume_bytes,
            "rows_without_cache": self.rows_without_cache,
            "sample_exchanges": self.sample_exchanges,
            "sample_bytes": self.sample_bytes,
            "halo_hops": self.halo_hops,
            "topology_bytes": self.topology_bytes,
            "peak_memory_bytes": self.peak_memory_bytes,
            "nan_losses": self.nan_losses,
            "memory_start_bytes": self.memory.start,
            "memory_partition_bytes": self.memory.partition,
            "memory_cache_bytes": self.memory.cache,
            "memory_queue_bytes": self.memory.queues,
            "epochs": [
                dataclasses.asdict(epoch) | _accuracies(scores)
                for epoch, scores in zip(self.epochs, self.epoch_scores, strict=True)
            ],
            "policy": self.policy,
            "config": self.config,
        }

    def write(self, path: Path) -> None:
        """Writes `summary.json` under a temporary name and renames it.

        Raises:
            ResourceError: if it cannot be written.
        """
        write_whole(path, to_json_text(self.as_json(), indent=1) + "\n")

    def table(self) -> Table:
        """The same in short, to be printed."""
        table = Table(
            title=f"{self.model} on {self.graph}, {self.num_ranks} "
            f"{'rank' if self.num_ranks == 1 else 'ranks'}",
            show_header=False,
        )
        table.add_column()
        table.add_column(justify="right")
        for split, words in (("train", "Train"), ("val", "Validation"), ("test", "Test")):
            value = self.scores.get(split)
            table.add_row(f"{words} {self.score_name}", "-" if value is None else f"{value:.4f}")
        num_epochs = len(self.epochs)
        if self.nan_losses:
            table.add_row("Losses that were NaN or infinite", f"{self.nan_losses:,}")
        table.add_row("Seconds per epoch", f"{self.epoch_time_s:.2f}")
        table.add_row("Hit rate", "-" if self.hit_rate is None else f"{self.hit_rate:.3f}")
        table.add_row("Rows fetched per epoch", f"{self.volume_rows // num_epochs:,}")
        table.add_row("Bytes fetched per epoch", human_bytes(self.volume_bytes / num_epochs))
        table.add_row("Sampling exchanges per epoch", f"{self.sample_exchanges // num_epochs:,}")
        table.add_row("Bytes of neighbours per epoch", human_bytes(self.sample_bytes / num_epochs))
        table.add_row(
            f"Neighbour lists of a rank, {self.halo_hops} halo hops",
            human_bytes(self.topology_bytes) if self.topology_bytes else "mapped",
        )
        table.add_row("Peak memory of a rank", human_bytes(self.peak_memory_bytes))
        memory = self.memory
        table.add_row("  program before the graph", human_bytes(memory.start))
        table.add_row("  partition, if all of it is used", human_bytes(memory.partition))
        table.add_row("  halo cache", human_bytes(memory.cache))
        table.add_row("  queues and messages, at most", human_bytes(memory.queues))
        return table


def policy_summary(config: TrainConfig, loader: DistNeighborLoader, ctx: Context) -> dict[str, Any]:
    """Adds up the decisions of all ranks, each of which calls this once its loader is finished.

    Returns:
        Name and mode of the policy, the ranks that it steered, and the figures of
        `DecisionStatistics.summary`.
    """
    policy = loader.policy
    own = None if policy is None else policy.statistics.to_json()
    parts = [part for part in ctx.allgather_json(own) if part is not None]
    return {
        "name": config.policy.policy if policy is None else policy.name,
        "mode": config.policy.policy_mode,
        "ranks": len(parts),
        **DecisionStatistics.merged(parts).summary(),
    }


def policy_table(summary: Mapping[str, Any]) -> Table | None:
    """The same to be printed; None if no rank asked a policy."""
    if not summary["ranks"]:
        return None
    ranks = summary["ranks"]
    table = Table(
        title=f"policy {summary['name']} on {ranks} {'rank' if ranks == 1 else 'ranks'}",
        show_header=False,
        caption=None if summary["pass_at_1"] is None else _OWN_SITUATIONS,
    )
    table.add_column()
    table.add_column(justify="right", overflow="fold")
    table.add_row("Decisions", f"{summary['decisions']:,} of {summary['decision_points']:,} points")
    table.add_row("Replacements", f"{summary['replacements']:,}")
    for name, words in _SHARES:
        table.add_row(words, _percent(summary[name]))
    table.add_row("Busy or not ready when due", _percent(summary["busy_share"]))
    table.add_row("Latency, median", _milliseconds(summary["latency_median_s"]))
    table.add_row("Latency, 95th percentile", _milliseconds(summary["latency_p95_s"]))
    table.add_row("Pass@1", _percent(summary["pass_at_1"]))
    for name, words in RIVALS.items():
        table.add_row(f"  {words}", _percent(summary[name]))
    table.add_row("Expected hit rate came true", _percent(summary["hit_rate_agreement"]))
    table.add_row("Expected volume came true", _percent(summary["volume_agreement"]))
    for error, count in list(summary["errors"].items())[:_MAX_ERRORS]:
        table.add_row(f"{count:,} times", error)
    return table


def _accuracies(scores: Scores) -> dict[str, float | None]:
    return {f"{split}_accuracy": scores.get(split) for split in ("train", "val", "test")}


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1e3 * seconds:.1f} ms"
