"""The folder of a run, made for one job alone, and what the run has recorded so far."""

import dataclasses
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from gnnflow.comm import Context
from gnnflow.config import TrainConfig
from gnnflow.errors import ConfigError, GnnflowError, ResourceError, cannot_write, resource_error
from gnnflow.files.folder_lock import LOCK_FILE, FolderLock
from gnnflow.files.json_text import parse_json
from gnnflow.files.regular_file import read_regular_text
from gnnflow.files.whole_file import LineFile, write_whole
from gnnflow.training.records.step_metrics import EpochMetrics, EpochRecorder
from gnnflow.training.records.summary import Scores

METRICS_FILE = "metrics.jsonl"


class RunRecords:
    """What a run leaves in its folder; what cannot be written is told when the run is over.

    Rank 0 makes the folder and holds it until `close`; the others only learn its name. A run that
    goes on may use its folder again.
    """

    def __init__(self, config: TrainConfig, ctx: Context) -> None:
        """Makes the folder; every rank does this.

        Raises:
            ConfigError: if the folder is another run's, of now or of before.
            ResourceError: if it cannot be made or written to.
        """
        self._ctx = ctx
        self._lock: FolderLock | None = None
        self._metrics: LineFile | None = None
        self._problems: list[str] = []
        if ctx.rank == 0:
            self.folder = self._make_folder(config)
            """Where the records are."""
        name = ctx.broadcast_json(str(self.folder) if ctx.rank == 0 else None)
        self.folder = Path(name)

    def open_metrics(self, recorder: EpochRecorder, first_epoch: int) -> None:
        """Opens `metrics.jsonl` on rank 0, without the epochs that come (again).

        Raises:
            ResourceError: if it cannot be written.
        """
        if self._ctx.rank == 0:
            path = self.folder / METRICS_FILE
            keep_epochs_before(path, first_epoch)
            self._metrics = LineFile(path)
            recorder.write_to(self._metrics)

    def keep(self, write: Callable[[], object]) -> None:
        """Writes something when training is over; that it cannot be written loses nothing else."""
        try:
            write()
        except GnnflowError as error:
            self.note(error)
        except OSError as error:
            self.note(resource_error(error) or error)

    def note(self, problem: Exception | None) -> None:
        """Notes why something was not written; None for nothing."""
        if problem is not None:
            self._problems.append(str(problem))

    def settle(self) -> None:
        """Ends the run; every rank calls this.

        Raises:
            ResourceError: if records of a rank are missing.
        """
        self.note(None if self._metrics is None else self._metrics.problem)
        problems = [
            each for of_rank in self._ctx.allgather_json(self._problems) for each in of_rank
        ]
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise ResourceError(
                f"the run is over, but not all of it is recorded: {problems[0]}{more}"
            )

    def close(self) -> None:
        """Lets others have the folder."""
        if self._metrics is not None:
            self._metrics.close()
        if self._lock is not None:
            self._lock.release()

    def _make_folder(self, config: TrainConfig) -> Path:
        folder = config.runtime.out
        if folder is None:
            folder = Path("runs") / datetime.now().strftime("%Y-%m-%d-%H%M%S")
        try:
            return self._hold(folder, may_go_on=config.checkpoint.resume is not None)
        except OSError as error:
            raise cannot_write(folder, error) from None

    def _hold(self, folder: Path, *, may_go_on: bool) -> Path:
        goes_on = may_go_on and (folder / METRICS_FILE).is_file()
        in_use = ConfigError(
            f"the run folder {folder} exists and is not empty; remove it or choose another --out"
        )
        if folder.exists() and not folder.is_dir():
            raise in_use
        self._lock = FolderLock(folder, "--out")
        if not goes_on and any(path.name != LOCK_FILE for path in folder.iterdir()):
            self._lock.release()
            raise in_use
        return folder


class RunHistory:
    """Metrics and scores of the finished epochs, which checkpoints keep for a run that goes on."""

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
