"""What rank 0 shows while a run goes on."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gnnflow.training.step_metrics import EpochMetrics, StepMetrics
from gnnflow.training.summary import Scores, human_bytes


class TrainingProgress:
    """A bar for the epoch in a terminal, and a line for every finished epoch."""

    def __init__(self, console: Console, *, num_epochs: int, num_steps: int) -> None:
        """Takes where to write and how much there is to do."""
        self._console = console
        self._num_epochs = num_epochs
        self._num_steps = num_steps
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=num_steps, loss="")

    def __enter__(self) -> Self:
        """Shows the bar."""
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Takes the bar away."""
        self._bar.stop()

    def start_epoch(self, epoch: int) -> None:
        """Sets the bar back."""
        name = f"epoch {epoch + 1}/{self._num_epochs}"
        self._bar.reset(self._task, total=self._num_steps, description=name, loss="")

    def show_step(self, metrics: StepMetrics) -> None:
        """Moves the bar on."""
        loss = f"loss {metrics.loss:.3f}" if metrics.num_seeds else ""
        self._bar.update(self._task, advance=1, loss=loss)

    def show_epoch(self, metrics: EpochMetrics, scores: Scores) -> None:
        """Writes the line of an epoch."""
        parts = [
            f"epoch {metrics.epoch + 1:>{len(str(self._num_epochs))}}/{self._num_epochs}",
            f"loss {metrics.loss:.4f}",
        ]
        parts += [f"{split} {value:.4f}" for split, value in scores.items() if value is not None]
        parts.append(f"{metrics.epoch_time_s:.2f} s")
        if metrics.rows_without_cache:
            parts.append(f"hit rate {metrics.hit_rate:.3f}")
            parts.append(f"{metrics.volume_rows:,} rows fetched")
            parts.append(human_bytes(metrics.volume_bytes))
        self._console.print("  ".join(parts), highlight=False, soft_wrap=True)
