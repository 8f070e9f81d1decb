"""What every peer trains and measures: GraphSAGE over sampled minibatches, stage by stage.

Runs in the peers' environments. Whatever decides how fast a network learns is in the record of
hyperparameters that a job brings; what is named there and not known here ends the job.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from benchmarks.hyperparameters import Hyperparameters

Known = TypeVar("Known")
ACTIVATIONS = {"relu": torch.relu}
LOSSES: Mapping[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "cross-entropy": torch.nn.functional.cross_entropy,
    "mean-square": lambda scores, labels: (scores - labels).square().mean(),
}
OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
_ONLY_WAY = {
    "model": "sage",
    "normalization": "none",
    "schedule": "constant",
    "cut": "evenly",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingJob:
    """What a peer's trainer is told."""

    hyperparameters: Hyperparameters
    out: Path
    """Folder for what it writes; the record was read from there."""
    classes: int
    threads: int
    ranks: int
    """Ranks of the others whose minibatches are one here."""


@dataclass(kw_only=True, slots=True)
class EpochTimes:
    """What one trainer did in one epoch."""

    epoch_time_s: float = 0.0
    sample_s: float = 0.0
    fetch_s: float = 0.0
    train_s: float = 0.0
    minibatches: int = 0
    rows: int = 0
    remote_rows: int = 0
    remote_bytes: int = 0
    edges: int = 0
    loss: float = 0.0


class _LapTimer:
    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Returns the seconds since the last lap."""
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        return seconds


class GraphSage(torch.nn.Module):
    """A peer's layers with activation and dropout between them."""

    def __init__(
        self,
        layers: Iterable[torch.nn.Module],
        hyperparameters: Hyperparameters,
        apply: Callable[[torch.nn.Module, Any, torch.Tensor], torch.Tensor],
    ) -> None:
        """Takes a peer's layers, and how one is applied to a graph and rows.

        Raises:
            ValueError: If the hyperparameters ask for another network.
        """
        super().__init__()
        for name, known in _ONLY_WAY.items():
            named(name, getattr(hyperparameters, name), {known: known})
        self.layers = torch.nn.ModuleList(layers)
        self.dropout = torch.nn.Dropout(hyperparameters.dropout)
        self._activate = named("activation", hyperparameters.activation, ACTIVATIONS)
        self._apply_layer = apply

    def forward(self, graphs: Sequence[Any], rows: torch.Tensor) -> torch.Tensor:
        """Returns class scores, seeds first, from a graph for each layer and input rows."""
        for layer, graph in zip(self.layers[:-1], graphs[:-1], strict=True):
            rows = self.dropout(self._activate(self._apply_layer(layer, graph, rows)))
        return self._apply_layer(self.layers[-1], graphs[-1], rows)


def named(what: str, name: str, known: Mapping[str, Known]) -> Known:
    """Returns what a hyperparameter names.

    Raises:
        ValueError: If it is not known.
    """
    if name not in known:
        raise ValueError(f"{what} must be one of {', '.join(known)}, got '{name}'")
    return known[name]


def make_optimizer(
    hyperparameters: Hyperparameters, parameters: Iterable[torch.nn.Parameter]
) -> torch.optim.Optimizer:
    """Makes the optimizer that the hyperparameters name."""
    kind = named("optimizer", hyperparameters.optimizer, OPTIMIZERS)
    return kind(parameters, lr=hyperparameters.lr, weight_decay=hyperparameters.weight_decay)


def train_epochs(
    job: TrainingJob,
    model: torch.nn.Module,
    loader: Iterable[Any],
    take: Callable[[Any], tuple[Sequence[Any], torch.Tensor, torch.Tensor]],
    *,
    count: Callable[[EpochTimes, Any], None] | None = None,
    start_together: Callable[[], object] = lambda: None,
    join: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> list[EpochTimes]:
    """Trains for as many epochs as the hyperparameters say.

    Args:
        job: What the trainer was told.
        model: Takes graphs and rows.
        loader: What the peer samples.
        take: Fetches the graphs, rows and labels of what was sampled.
        count: Adds what was sampled to the counts; takes no time of the work.
        start_together: Waits for the other trainers before an epoch.
        join: What trainers with unequal numbers of minibatches need around an epoch.
    """
    optimizer = make_optimizer(job.hyperparameters, model.parameters())
    loss_of = named("loss", job.hyperparameters.loss, LOSSES)
    epochs = []
    for _ in range(job.hyperparameters.epochs):
        start_together()
        epochs.append(_train_epoch(model, optimizer, loss_of, loader, take, count, join()))
    return epochs


def _train_epoch(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    loader: Iterable[Any],
    take: Callable[[Any], tuple[Sequence[Any], torch.Tensor, torch.Tensor]],
    count: Callable[[EpochTimes, Any], None] | None,
    joined: AbstractContextManager[object],
) -> EpochTimes:
    times, watch = EpochTimes(), _LapTimer()
    began = time.perf_counter()
    with joined:
        for batch in loader:
            times.sample_s += watch.lap()
            graphs, rows, labels = take(batch)
            times.fetch_s += watch.lap()
            # Rows travel as they are stored; torch does not multiply float16 on every processor.
            scores = model(graphs, rows.float())[: len(labels)]
            loss = loss_of(scores, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            times.loss += loss.item()
            times.train_s += watch.lap()
            times.minibatches += 1
            if count is not None:
                count(times, batch)
            watch.lap()
    times.epoch_time_s = time.perf_counter() - began
    times.loss /= max(1, times.minibatches)
    return times


def read_job(module: str) -> TrainingJob:
    """Reads what `training_job.hand_over` has written and the words that it returned."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}")
    parser.add_argument("out", type=Path)
    for name in ("classes", "threads", "ranks"):
        parser.add_argument(f"--{name}", type=int, required=True)
    given = parser.parse_args()
    return TrainingJob(
        hyperparameters=Hyperparameters.read(given.out),
        out=given.out,
        classes=given.classes,
        threads=given.threads,
        ranks=given.ranks,
    )


def write_result(job: TrainingJob, rank: int, epochs: Sequence[EpochTimes]) -> None:
    """Writes what a trainer measured, and what it was told to train with."""
    result = {
        "epochs": [asdict(epoch) for epoch in epochs],
        "hyperparameters": job.hyperparameters.to_json(),
        "peak_memory_bytes": _peak_memory_bytes(),
    }
    (job.out / f"trainer-{rank}.json").write_text(json.dumps(result, allow_nan=False))


def _peak_memory_bytes() -> int:
    """Largest resident memory of this process; ru_maxrss would include its parent's."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)
