"""What a run has recorded so far, kept in checkpoints so that one that goes on has it all."""

import dataclasses
from pathlib import Path
from typing import Any

from gnnflow.files.json_text import parse_json
from gnnflow.files.regular_file import read_regular_text
from gnnflow.files.whole_file import write_whole
from gnnflow.training.records.step_metrics import EpochMetrics
from gnnflow.training.records.summary import Scores


class RunHistory:
    """Metrics and scores of the finished epochs."""

    def __init__(self) -> None:
        """Starts with no epoch."""
        self.epochs: list[EpochMetrics] = []
        """Metrics of each epoch, over all ranks."""
        self.scores: list[Scores] = []
        """Scores after each epoch; empty where nothing was evaluated."""

    def add(self, metrics: EpochMetrics, scores: Scores) -> None:
        """Adds an epoch."""
        self.epochs.append(metrics)
        self.scores.append(scores)

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        return {
            "epochs": [dataclasses.asdict(metrics) for metrics in self.epochs],
            "scores": [dict(scores) for scores in self.scores],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes on what an earlier process recorded."""
        self.epochs = [EpochMetrics(**metrics) for metrics in state_dict["epochs"]]
        self.scores = list(state_dict["scores"])


def keep_epochs_before(path: Path, epoch: int) -> None:
    """Removes from `metrics.jsonl` the lines of epochs that will be written again.

    Raises:
        ResourceError: if it cannot be read or written.
    """
    if not path.exists():
        return
    kept = []
    for line in read_regular_text(path).splitlines(keepends=True):
        try:
            if parse_json(line)["epoch"] < epoch:
                kept.append(line)
        except (ValueError, KeyError, TypeError):
            break  # the line that a kill cut off
    write_whole(path, "".join(kept))
