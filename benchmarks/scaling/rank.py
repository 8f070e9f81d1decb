"""One rank of a measured run: gnnflow-train, and the processor seconds of each epoch.

    mpiexec -n 4 python -m benchmarks.scaling.rank FOLDER PARTS [OPTIONS OF gnnflow-train]

Writes `FOLDER/processor-PID.jsonl`: a line for each epoch, the processor seconds of all threads of
this rank, communication included. Evaluation and start are not in them.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from gnnflow.cli.train import main as train
from gnnflow.training import run
from gnnflow.training.records.step_metrics import EpochMetrics, StepMetrics
from gnnflow.training.trainer import Trainer


class _TimedTrainer(Trainer):
    folder: Path

    def train_epoch(
        self,
        epoch: int,
        on_step: Callable[[StepMetrics], None] | None = None,
        *,
        first_step: int = 0,
    ) -> EpochMetrics:
        begin_s = time.process_time()
        metrics = super().train_epoch(epoch, on_step, first_step=first_step)
        seconds = time.process_time() - begin_s
        with (self.folder / f"processor-{os.getpid()}.jsonl").open("a") as file:
            file.write(f"{seconds}\n")
        return metrics


def main() -> None:
    """Trains as this rank."""
    folder, *words = sys.argv[1:]
    _TimedTrainer.folder = Path(folder)
    run.Trainer = _TimedTrainer  # type: ignore[attr-defined,misc]
    sys.argv[1:] = words
    train()


if __name__ == "__main__":
    main()
