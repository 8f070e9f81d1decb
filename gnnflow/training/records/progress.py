"""What rank 0 shows while a run goes on."""

import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from gnnflow.terminal import (
    BarColumn,
    PlainColumn,
    PlainConsole,
    Progress,
    TimeRemainingColumn,
)
from gnnflow.training.records.step_metrics import EpochMetrics, StepMetrics
from gnnflow.training.records.summary import Scores
from gnnflow.units import human_bytes, short_number

_WINDOW = 50
"""Steps that the moving figures of the line are taken over."""


class TrainingProgress:
    """One live line in a terminal, and a line for every finished epoch anywhere.

    The live line has epoch, step, loss, hit rate, the share of time spent waiting for minibatches,
    rows gathered per second and the time to the end of the run, all of rank 0, and its figures are
    of the latest steps.
    """

    def __init__(
        self,
        console: PlainConsole,
        *,
        num_epochs: int,
        num_steps: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Takes where to write and how much there is to do.

        Args:
            console: where to write.
            num_epochs: epochs of the run.
            num_steps: steps of an epoch.
            clock: seconds.
        """
        self._console = console
        self._num_epochs = num_epochs
        self._num_steps = num_steps
        self._clock = clock
        self._latest: deque[tuple[float, StepMetrics]] = deque(maxlen=_WINDOW + 1)
        self._bar = Progress(
            PlainColumn("{task.description}"),
            BarColumn(bar_width=16),
            PlainColumn("{task.fields[figures]}"),
            PlainColumn("ETA"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=num_epochs * num_steps, figures="")
        self._epoch = 0

    def __enter__(self) -> Self:
        """Shows the line."""
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Takes the line away."""
        self._bar.stop()

    def start_epoch(self, epoch: int) -> None:
        """Sets the line to the start of an epoch; the time since the last one is no step's."""
        self._epoch = epoch
        self._latest.clear()
        self._bar.reset(
            self._task,
            completed=epoch * self._num_steps,
            description=self._position(0),
            figures="",
        )

    def show_step(self, metrics: StepMetrics) -> None:
        """Moves the line on."""
        if self._bar.disable:
            return
        self._latest.append((self._clock(), metrics))
        self._bar.update(
            self._task,
            advance=1,
            description=self._position(metrics.step + 1),
            figures="  ".join(self._figures()),
        )

    def show_epoch(self, metrics: EpochMetrics, scores: Scores) -> None:
        """Writes the line of an epoch."""
        parts = [
            f"epoch {metrics.epoch + 1:>{len(str(self._num_epochs))}}/{self._num_epochs}",
            f"loss {metrics.loss:.4f}",
        ]
        parts += [f"{split} {value:.4f}" for split, value in scores.items() if value is not None]
        parts.append(f"{metrics.epoch_time_s:.2f} s")
        if metrics.rows_without_cache:
            if metrics.hit_rate is not None:
                parts.append(f"hit rate {metrics.hit_rate:.3f}")
            parts.append(f"{metrics.volume_rows:,} rows fetched")
            parts.append(human_bytes(metrics.volume_bytes))
        self._console.print("  ".join(parts), highlight=False, soft_wrap=True)

    def _position(self, step: int) -> str:
        digits = len(str(self._num_steps))
        return f"epoch {self._epoch + 1}/{self._num_epochs} {step:>{digits}}/{self._num_steps}"

    def _figures(self) -> list[str]:
        steps = [metrics for _, metrics in self._latest]
        parts = []
        num_seeds = sum(step.num_seeds for step in steps)
        if num_seeds:
            loss = sum(step.loss * step.num_seeds for step in steps) / num_seeds
            parts.append(f"loss {loss:.3f}")
        asked = sum(step.feature_rows_asked for step in steps)
        if asked:
            parts.append(f"hits {sum(step.traffic.rows_hit for step in steps) / asked:.0%}")
        elapsed_s = self._latest[-1][0] - self._latest[0][0]
        if elapsed_s > 0:
            # The first entry only starts the clock.
            wait_s = sum(step.traffic.wait_s for step in steps[1:])
            parts.append(f"wait {min(wait_s / elapsed_s, 1):.0%}")
            rows_per_s = sum(step.num_vertices for step in steps[1:]) / elapsed_s
            parts.append(f"{short_number(rows_per_s)} rows/s")
        return parts


class Watcher(Protocol):
    """Is told of epochs and steps while they happen."""

    def start_epoch(self, epoch: int) -> None:
        """Is told that an epoch starts."""

    def show_step(self, metrics: StepMetrics) -> None:
        """Is told of a finished step of rank 0."""

    def show_epoch(self, metrics: EpochMetrics, scores: Scores) -> None:
        """Is told of a finished epoch over all ranks, and of the scores if it was evaluated."""
