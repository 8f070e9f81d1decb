"""One rank of a measured run: gnnflow-train, and the processor seconds of each epoch.

    mpiexec -n 4 python -m benchmarks.scaling.rank FOLDER PARTS [OPTIONS OF gnnflow-train]

Writes `FOLDER/processor-PID.json`: for each epoch the processor seconds of all threads of this
rank, communication included. Evaluation and start are not in them.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from gnnflow.cli.train import main as train
from gnnflow.training import run
from gnnflow.training.step_metrics import EpochMetrics, StepMetrics
from gnnflow.training.trainer import Trainer

_epochs_s: list[float] = []


class _TimedTrainer(Trainer):
    def train_epoch(
        self,
        epoch: int,
        on_step: Callable[[StepMetrics], None] | None = None,
        *,
        first_step: int = 0,
    ) -> EpochMetrics:
        begin_s = time.process_time()
        metrics = super().train_epoch(epoch, on_step, first_step=first_step)
        _epochs_s.append(time.process_time() - begin_s)
        return metrics


def main() -> None:
    """Trains as this rank."""
    folder, *words = sys.argv[1:]
    run.Trainer = _TimedTrainer  # type: ignore[attr-defined,misc]
    sys.argv[1:] = words
    train()
    (Path(folder) / f"processor-{os.getpid()}.json").write_text(json.dumps(_epochs_s))


if __name__ == "__main__":
    main()
