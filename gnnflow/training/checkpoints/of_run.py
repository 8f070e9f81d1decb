"""Checkpoints of a run as its options ask for them."""

from pathlib import Path
from typing import Any

import numpy as np

from gnnflow.cache.vertex_values import VertexValues
from gnnflow.comm import Context
from gnnflow.config.train import RESUME_AUTO, CheckpointConfig
from gnnflow.errors import CheckpointError
from gnnflow.prefetch import CacheSetup
from gnnflow.terminal import SlowWork, say
from gnnflow.training.checkpoints.checkpoint_files import Position, read_facts
from gnnflow.training.checkpoints.folder import Checkpoints
from gnnflow.training.checkpoints.saving import Resumed, TrainingState, load_checkpoint
from gnnflow.training.loss_watch import LossWatch
from gnnflow.training.records.step_metrics import EpochRecorder


class CachedVertices:
    """The contents of a rank's halo cache as a checkpoint holds them: vertices, not rows.

    What is trained does not depend on them. Going on fetches the rows again, once, and the scorer
    starts with what it knows of these vertices before any use.
    """

    def __init__(self, setup: CacheSetup | None) -> None:
        """Takes the cache of a loader, if it has one."""
        self._rows = None if setup is None else setup.rows

    def state_dict(self) -> dict[str, Any]:
        """The global ids of the cached rows, ascending, `[num_cached]` int64."""
        nothing = np.empty(0, dtype=np.int64)
        return {"vertices": nothing if self._rows is None else self._rows.cached_vertices()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Fetches the rows of cached vertices into free slots, before the first minibatch."""
        vertices = np.asarray(state_dict["vertices"], dtype=np.int64)
        if self._rows is None or self._rows.cache is None or not len(vertices):
            return
        wanted = VertexValues(vertices, np.ones(len(vertices), dtype=np.float32))
        # These rows are traffic as well.
        self._rows.rows_filled_at_start += self._rows.cache.fill(wanted, self._rows.store.fetch)


class RunCheckpoints:
    """Goes on from a checkpoint at the start and saves in time; every rank makes all calls."""

    def __init__(
        self,
        config: CheckpointConfig,
        state: TrainingState,
        recorder: EpochRecorder,
        losses: LossWatch,
    ) -> None:
        """Takes the options and what to save.

        Args:
            config: the options.
            state: what to save.
            recorder: holds the steps of the unfinished epoch.
            losses: says whether the weights are worth saving.
        """
        self._config = config
        self._state = state
        self._recorder = recorder
        self._losses = losses
        self._checkpoints: Checkpoints | None = None
        if config.checkpoint_dir is not None:
            self._checkpoints = Checkpoints(
                config.checkpoint_dir, state, keep_last=config.keep_last
            )
        self.position = Position()
        """Where the run begins."""

    def begin(self) -> Position:
        """Loads the checkpoint that the options name; returns where to begin.

        Raises:
            ConfigError: if the folder holds checkpoints of another run.
            CheckpointError: if the checkpoint cannot be used.
        """
        with SlowWork("loading the checkpoint", show=self._state.graph.ctx.rank == 0):
            resumed = self._resume()
        if resumed is not None:
            self.position = resumed.position
            if not self.position.step:
                self._recorder.restart()
            if self._state.graph.ctx.rank == 0:
                say(_words(resumed))
        return self.position

    def after_step(self, epoch: int, num_steps_done: int) -> None:
        """Saves if it is time, but not at the end of an epoch, which is saved when evaluated."""
        if self._checkpoints is None or not self._config.save_every:
            return
        assert self._state.loader is not None
        num_steps = len(self._state.loader)
        done = epoch * num_steps + num_steps_done
        if done % self._config.save_every == 0 and num_steps_done < num_steps:
            if self._losses.has_weights(f"after step {num_steps_done} of epoch {epoch + 1}"):
                self._checkpoints.save(epoch, num_steps_done)

    def after_epoch(self, epoch: int, score: float | None) -> None:
        """Saves a finished epoch with its validation score, larger is better."""
        if self._checkpoints is not None and self._losses.has_weights(f"after epoch {epoch + 1}"):
            self._checkpoints.save(epoch + 1, score=score)

    def close(self) -> None:
        """Lets other jobs have the folder."""
        if self._checkpoints is not None:
            self._checkpoints.close()

    def _resume(self) -> Resumed | None:
        source, checkpoints = self._config.resume, self._checkpoints
        if checkpoints is None:
            return None if source is None else load_checkpoint(source, self._state)
        if source is None:
            checkpoints.start()
            return None
        return checkpoints.resume(source)


def check_source(config: CheckpointConfig, ctx: Context) -> None:
    """Finds out before anything is written that there is no checkpoint to go on from.

    Raises:
        CheckpointError: if `resume` names something else; all ranks call this and raise it.
    """
    if config.resume in (None, RESUME_AUTO):
        return
    problem = ""
    if ctx.rank == 0:
        try:
            read_facts(Path(str(config.resume)))
        except CheckpointError as error:
            problem = str(error)
    if problem := ctx.broadcast_json(problem):
        raise CheckpointError(problem)


def _words(resumed: Resumed) -> str:
    done, there = resumed.position, resumed.facts.position
    text = f"going on after {there.epoch} epochs and {there.step} steps"
    if there.step and not done.step:
        text += f"; epoch {done.epoch + 1} starts again, its minibatches have other seeds now"
    if not resumed.same_job:
        text += "; what each rank had of its own starts anew"
    return text
