"""Others that follow a run: TensorBoard and Weights & Biases."""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from gnnflow.config import RecordsConfig
from gnnflow.errors import one_line
from gnnflow.optional import require_package
from gnnflow.training.records.step_metrics import EpochMetrics, StepMetrics
from gnnflow.training.records.summary import Scores

_LOGGER = logging.getLogger(__name__)

_STEP_FIELDS = (
    "loss",
    "sample_s",
    "fetch_s",
    "wait_s",
    "compute_s",
    "all_reduce_s",
    "rows_fetched",
    "bytes_fetched",
)


class Tracker(Protocol):
    """Takes named numbers."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Notes numbers of a step, counted over the whole run."""

    def close(self) -> None:
        """Writes what is left."""


class TensorBoardTracker:
    """Writes event files."""

    def __init__(self, folder: Path) -> None:
        """Takes the folder to write to.

        Raises:
            MissingExtraError: if TensorBoard is not installed.
        """
        require_package("tensorboard", extra="tensorboard", purpose="--tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Notes numbers of a step."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Writes what is left."""
        self._writer.close()


class WandbTracker:
    """Logs a run to Weights & Biases; `WANDB_MODE=offline` keeps it on this machine."""

    def __init__(self, project: str, folder: Path, config: Mapping[str, Any]) -> None:
        """Starts a run.

        Args:
            project: project to log to.
            folder: folder of the run, which gives it its name and holds its local files.
            config: options of the run.

        Raises:
            MissingExtraError: if the package is not installed.
        """
        wandb = require_package("wandb", extra="wandb", purpose="--wandb")
        self._run = wandb.init(
            project=project, name=folder.name, dir=str(folder), config=dict(config)
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Notes numbers of a step."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Sends what is left."""
        self._run.finish()


class Trackers:
    """All that follow one run, told by rank 0."""

    def __init__(
        self, config: RecordsConfig, folder: Path, num_steps: int, options: Mapping[str, Any]
    ) -> None:
        """Opens those that were asked for.

        Args:
            config: which ones.
            folder: folder of the run.
            num_steps: steps of an epoch.
            options: all options of the run.

        Raises:
            MissingExtraError: if the package of one is not installed.
        """
        self._num_steps = num_steps
        self._epoch = 0
        self._trackers: list[Tracker] = []
        if config.tensorboard:
            self._trackers.append(TensorBoardTracker(folder / "tensorboard"))
        if config.wandb is not None:
            self._trackers.append(WandbTracker(config.wandb, folder, options))

    def __enter__(self) -> Self:
        """Gives itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Lets all of them write what is left."""
        for tracker in self._trackers:
            self._told(tracker, tracker.close)

    def start_epoch(self, epoch: int) -> None:
        """Notes which epoch the next steps belong to."""
        self._epoch = epoch

    def show_step(self, metrics: StepMetrics) -> None:
        """Tells of a step of rank 0."""
        columns = metrics.columns()
        values = {f"step/{name}": float(columns[name]) for name in _STEP_FIELDS}
        if not metrics.num_seeds:
            del values["step/loss"]
        if metrics.hit_rate is not None:
            values["step/hit_rate"] = metrics.hit_rate
        self._log(values, self._epoch * self._num_steps + metrics.step)

    def show_epoch(self, metrics: EpochMetrics, scores: Scores) -> None:
        """Tells of an epoch over all ranks."""
        numbers = dataclasses.asdict(metrics)
        values = {
            f"epoch/{name}": float(value) for name, value in numbers.items() if value is not None
        }
        values |= {f"score/{split}": value for split, value in scores.items() if value is not None}
        self._log(values, (metrics.epoch + 1) * self._num_steps - 1)

    def _log(self, values: Mapping[str, float], step: int) -> None:
        for tracker in list(self._trackers):
            if not self._told(tracker, partial(tracker.log, values, step)):
                self._trackers.remove(tracker)

    def _told(self, tracker: Tracker, tell: Callable[[], None]) -> bool:
        """Whether a tracker could be told; one that could not ends no run."""
        try:
            tell()
        except Exception as error:  # of packages that write files and talk to servers
            _LOGGER.warning(
                "%s fails and is told nothing more: %s", type(tracker).__name__, one_line(error)
            )
            return False
        return True
