"""What every peer trains and measures: GraphSAGE over sampled minibatches, stage by stage.

Runs in the peers' environments.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch


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
    """Mean-aggregating layers with ReLU and dropout between them."""

    def __init__(
        self,
        layers: Iterable[torch.nn.Module],
        dropout: float,
        apply: Callable[[torch.nn.Module, Any, torch.Tensor], torch.Tensor],
    ) -> None:
        """Takes a peer's layers, and how one is applied to a graph and rows."""
        super().__init__()
        self.layers = torch.nn.ModuleList(layers)
        self.dropout = torch.nn.Dropout(dropout)
        self._apply_layer = apply

    def forward(self, graphs: Sequence[Any], rows: torch.Tensor) -> torch.Tensor:
        """Returns class scores, seeds first, from a graph for each layer and input rows."""
        for layer, graph in zip(self.layers[:-1], graphs[:-1], strict=True):
            rows = self.dropout(torch.relu(self._apply_layer(layer, graph, rows)))
        return self._apply_layer(self.layers[-1], graphs[-1], rows)


def layer_sizes(options: argparse.Namespace, num_features: int) -> list[tuple[int, int]]:
    """Inputs and outputs of each layer."""
    hidden = [options.hidden] * (len(options.fanout) - 1)
    sizes = [num_features, *hidden, options.classes]
    return list(zip(sizes[:-1], sizes[1:], strict=True))


def train_epoch(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    loader: Iterable[Any],
    take: Callable[[Any], tuple[Sequence[Any], torch.Tensor, torch.Tensor]],
    count: Callable[[EpochTimes, Any], None] | None = None,
    joined: AbstractContextManager[object] | None = None,
) -> EpochTimes:
    """Trains on all minibatches of a loader.

    Args:
        model: Takes graphs and rows.
        optimizer: Of the model's weights.
        loader: What the peer samples.
        take: Fetches the graphs, rows and labels of what was sampled.
        count: Adds what was sampled to the counts; takes no time of the work.
        joined: What trainers with unequal numbers of minibatches need around all of them.
    """
    times, watch = EpochTimes(), _LapTimer()
    began = time.perf_counter()
    with joined or nullcontext():
        for batch in loader:
            times.sample_s += watch.lap()
            graphs, rows, labels = take(batch)
            times.fetch_s += watch.lap()
            # Rows travel as they are stored; torch does not multiply float16 on every processor.
            scores = model(graphs, rows.float())[: len(labels)]
            loss = torch.nn.functional.cross_entropy(scores, labels)
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


def parse_options(module: str) -> argparse.Namespace:
    """Reads what `training_job.training_words` has written."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--fanout", type=lambda text: [int(each) for each in text.split(",")], required=True
    )
    for name in ("batch-size", "hidden", "classes", "epochs", "threads", "seed"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("dropout", "lr"):
        parser.add_argument(f"--{name}", type=float, required=True)
    return parser.parse_args()


def write_result(out: Path, rank: int, epochs: Sequence[EpochTimes]) -> None:
    """Writes what a trainer measured."""
    result = {
        "epochs": [asdict(epoch) for epoch in epochs],
        "peak_memory_bytes": _peak_memory_bytes(),
    }
    (out / f"trainer-{rank}.json").write_text(json.dumps(result, allow_nan=False))


def _peak_memory_bytes() -> int:
    """Largest resident memory of this process; ru_maxrss would include its parent's."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)
