"""Options: what is saved during a run, and where a run goes on."""

from dataclasses import dataclass
from pathlib import Path

from gnnflow.config.values import require
from gnnflow.config.whole_numbers import check_whole_numbers

RESUME_AUTO = "auto"


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointConfig:
    """What is saved during training, and where training goes on."""

    checkpoint_dir: Path | None = None
    """Folder to save checkpoints in, one at the end of every epoch; none by default."""

    save_every: int = 0
    """Save after every so many steps, too; 0 saves at the ends of epochs only."""

    keep_last: int = 3
    """Newest checkpoints that are kept, besides the one with the best validation score."""

    resume: str | None = None
    """Go on from a checkpoint: a folder of one, or auto for the newest in checkpoint-dir (the start
    if there is none)."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: if a value is out of range or the folder is missing.
        """
        check_whole_numbers(self)
        require(self.save_every >= 0, f"save_every must not be negative, got {self.save_every}")
        require(self.keep_last >= 1, f"keep_last must be at least 1, got {self.keep_last}")
        require(
            self.checkpoint_dir is not None or not self.save_every,
            f"save_every is {self.save_every} but there is no folder to save in; "
            "give --checkpoint-dir",
        )
        require(
            self.checkpoint_dir is not None or self.resume != RESUME_AUTO,
            "resume is auto but there is no folder to look in; give --checkpoint-dir",
        )
