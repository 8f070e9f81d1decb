"""The checkpoints of a run in one folder: the last ones and the best, and where to go on."""

import logging
from pathlib import Path

from gnnflow.config.train import RESUME_AUTO
from gnnflow.errors import CheckpointError, ConfigError, GnnflowError
from gnnflow.files.folder_lock import FolderLock
from gnnflow.files.regular_file import read_regular_text
from gnnflow.files.whole_file import clear_leftovers, clear_partial, remove_folder
from gnnflow.training.checkpoints.checkpoint_files import (
    POINTER_BYTES,
    Position,
    checkpoint_folders,
    read_facts,
    read_files,
    write_pointer,
)
from gnnflow.training.checkpoints.saving import (
    Resumed,
    TrainingState,
    load_checkpoint,
    save_checkpoint,
)

LATEST = "latest"
BEST = "best"
_OPTION = "--checkpoint-dir"
_log = logging.getLogger(__name__)


class Checkpoints:
    """Saves training into a folder under names of its own and finds where to go on.

    The folder holds a checkpoint for each of the last positions and for the one with the best
    score, and the files `latest` and `best`, which name two of them. `latest` is written when the
    checkpoint that it names is complete.
    """

    def __init__(self, folder: Path | str, state: TrainingState, *, keep_last: int = 3) -> None:
        """Takes what is to be saved; every rank does this.

        Args:
            folder: where checkpoints are, or will be.
            state: what they hold.
            keep_last: newest checkpoints that are kept, besides the best one.

        Raises:
            ConfigError: if `keep_last` is below 1.
        """
        if keep_last < 1:
            raise ConfigError(f"keep_last must be at least 1, got {keep_last}")
        self._folder = Path(folder)
        self._state = state
        self._ctx = state.graph.ctx
        self._keep_last = keep_last
        self._position = Position()
        self._best: tuple[float, str] | None = None
        """Score and name of the best checkpoint; on rank 0 only."""
        self._lock: FolderLock | None = None

    @property
    def position(self) -> Position:
        """What was done when training was last saved or resumed."""
        return self._position

    def start(self) -> None:
        """Starts from the beginning; every rank calls this.

        Raises:
            ConfigError: if the folder holds checkpoints of an earlier run, or another job writes to
                it.
        """
        self._hold()
        problem = ""
        if self._ctx.rank == 0 and checkpoint_folders(self._folder):
            problem = (
                f"{self._folder} holds checkpoints of an earlier run; --resume auto goes on "
                "with them, or choose another --checkpoint-dir"
            )
        problem = self._ctx.broadcast_json(problem)
        if problem:
            self.close()
            raise ConfigError(problem)

    def resume(self, source: Path | str = RESUME_AUTO) -> Resumed | None:
        """Loads a checkpoint; every rank calls this.

        Args:
            source: its folder; or `auto` for the newest one here that is not damaged.

        Returns:
            Where to go on; None if there is no checkpoint, for `auto`.

        Raises:
            ConfigError: if another job writes to the folder.
            CheckpointError: if it is damaged, of a newer version, or of another model or graph.
        """
        path = Path(source)
        if source != RESUME_AUTO and path.absolute().parent != self._folder.absolute():
            self.start()
        else:
            self._hold()
        if source == RESUME_AUTO:
            found = None
            if self._ctx.rank == 0:
                found = self._newest()
            found = self._ctx.broadcast_json(None if found is None else str(found))
            if found is None:
                return None
            path = Path(found)
        resumed = load_checkpoint(path, self._state)
        self._position = resumed.position
        if self._ctx.rank == 0:
            self._best = self._best_so_far()
        return resumed

    def save(self, epoch: int, step: int = 0, *, score: float | None = None) -> Path:
        """Saves a checkpoint and removes those that need not be kept; every rank calls this.

        Args:
            epoch: epochs that are complete.
            step: steps done of the next one.
            score: validation score, larger is better; None where it is not known.

        Returns:
            The folder of the checkpoint.
        """
        if self._lock is None and self._ctx.rank == 0:
            self._lock = FolderLock(self._folder, _OPTION)
        num_steps = 0 if self._state.loader is None else len(self._state.loader)
        before = self._position
        done = (epoch - before.epoch) * num_steps + step - before.step
        position = Position(epoch=epoch, step=step, num_updates=before.num_updates + done)
        path = self._folder / position.folder_name
        save_checkpoint(path, self._state, position, score=score)
        self._position = position
        if self._ctx.rank == 0:
            if score is not None and (self._best is None or score > self._best[0]):
                self._best = (score, path.name)
                write_pointer(self._folder / BEST, path.name)
            write_pointer(self._folder / LATEST, path.name)
            self._remove_old(path)
        return path

    def close(self) -> None:
        """Lets other jobs have the folder; saving takes it again."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _hold(self) -> None:
        """Takes the folder for this job and clears away what a killed one left."""
        problem = ""
        if self._ctx.rank == 0 and self._lock is None:
            try:
                self._lock = FolderLock(self._folder, _OPTION)
                clear_leftovers(self._folder)
                for pointer in (LATEST, BEST):
                    clear_partial(self._folder / pointer)
            except GnnflowError as error:
                problem = str(error)
        if problem := self._ctx.broadcast_json(problem):
            raise ConfigError(problem)

    def _remove_old(self, newest: Path) -> None:
        """Keeps the last ones up to the newest, the best, and any that got further before."""
        folders = checkpoint_folders(self._folder)
        for path in folders[folders.index(newest) + self._keep_last :]:
            if self._best is None or path.name != self._best[1]:
                remove_folder(path)

    def _newest(self) -> Path | None:
        """The newest one that is not damaged; a damaged one if there is no other."""
        folders = checkpoint_folders(self._folder)
        try:
            named = self._folder / read_regular_text(self._folder / LATEST, POINTER_BYTES).strip()
        except (OSError, UnicodeDecodeError):
            named = None
        if named in folders:
            folders.remove(named)
            folders.insert(0, named)
        for path in folders:
            try:
                read_files(path)
            except CheckpointError as error:
                _log.warning("%s; looking for an older one", error)
                continue
            return path
        return folders[0] if folders else None

    def _best_so_far(self) -> tuple[float, str] | None:
        scores = []
        for path in checkpoint_folders(self._folder):
            try:
                facts = read_facts(path)
            except CheckpointError:
                continue
            if facts.score is not None:
                scores.append((facts.score, path.name))
        return max(scores, default=None)
