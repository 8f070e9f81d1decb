"""Options: what a run says and whom it tells."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordsConfig:
    """What the run says, and whom it tells besides its folder."""

    tensorboard: bool = False
    """Also write what TensorBoard reads, into the folder tensorboard of the run."""

    wandb: str | None = None
    """Also log to this project of Weights & Biases."""

    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    """What is logged on stderr, each line with the rank that says it."""
