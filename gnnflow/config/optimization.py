"""Options: how the network is trained."""

from dataclasses import dataclass
from typing import Literal

from gnnflow.config.values import require, require_not_negative, require_positive
from gnnflow.config.whole_numbers import check_whole_numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizationConfig:
    """How the network is trained."""

    epochs: int = 10
    """Passes over the train seeds."""

    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """Torch's Adam, AdamW or SGD."""

    lr: float = 0.01
    """Learning rate."""

    weight_decay: float = 0.0
    """Weight decay of the optimizer."""

    momentum: float = 0.9
    """Momentum of SGD."""

    schedule: Literal["constant", "cosine", "step", "plateau"] = "constant"
    """How the learning rate changes: not at all, along a cosine to 0 at the end of the run, by
    lr-factor every lr-patience epochs (step), or after lr-patience evaluations in which the
    validation score did not rise (plateau)."""

    warmup_steps: int = 0
    """Steps in which the learning rate rises to lr first."""

    lr_factor: float = 0.1
    """Schedules step and plateau: what the learning rate is multiplied by."""

    lr_patience: int = 10
    """Schedules step and plateau: epochs, or evaluations, between two changes."""

    clip_norm: float | None = None
    """Largest norm of all gradients together; larger ones are scaled down to it."""

    on_nan: Literal["stop", "warn"] = "stop"
    """What to do when a loss is NaN or infinite, after which all weights are: end the job, with the
    checkpoints before it as they are (stop), or say so and go on (warn)."""

    patience: int = 0
    """Stop after so many evaluations in which the validation score did not rise; 0 never stops."""

    task: Literal["auto", "classes", "multilabel", "regression"] = "auto"
    """What labels are: one class per vertex, any number of classes, or numbers; auto takes whole
    numbers for classes, a matrix for any number of classes, and other numbers for a regression."""

    class_weights: str | None = None
    """What errors on each class count with: balanced (the more, the rarer a class is among the
    train seeds) or a file of a number per class (.npy or text). For several labels per vertex,
    what a present label counts with against an absent one."""

    eval_every: int = 1
    """Epochs between two exact evaluations over all neighbours; 0 evaluates at the end only."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: if a value is out of range.
        """
        check_whole_numbers(self)
        require(self.epochs >= 1, f"epochs must be at least 1, got {self.epochs}")
        require_positive("lr", self.lr, "0.01 is the default")
        require(0 <= self.momentum < 1, f"momentum must be in [0, 1), got {self.momentum}")
        require(0 < self.lr_factor < 1, f"lr_factor must be in (0, 1), got {self.lr_factor}")
        require(self.lr_patience >= 1, f"lr_patience must be at least 1, got {self.lr_patience}")
        require_positive("clip_norm", self.clip_norm, "leave it out to clip nothing")
        require_not_negative("weight_decay", self.weight_decay, "0 is the default")
        for name in ("warmup_steps", "patience", "eval_every"):
            value = getattr(self, name)
            require(value >= 0, f"{name} must not be negative, got {value}")
        require(
            self.eval_every > 0 or not (self.patience or self.schedule == "plateau"),
            "patience and schedule plateau need evaluations during training; eval_every must be "
            "at least 1, got 0",
        )
