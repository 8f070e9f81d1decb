"""The folder of a run: made for one job alone, and what is written to it."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from gnnflow.comm import Context
from gnnflow.config import TrainConfig
from gnnflow.errors import ConfigError, GnnflowError, ResourceError, cannot_write, resource_error
from gnnflow.files.folder_lock import LOCK_FILE, FolderLock
from gnnflow.files.whole_file import LineFile
from gnnflow.training.records.run_history import keep_epochs_before
from gnnflow.training.records.step_metrics import EpochRecorder

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
