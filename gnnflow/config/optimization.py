"""Options: how the network is trained."""

from dataclasses import dataclass

from gnnflow.config.values import require


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizationConfig:
    """How the network is trained."""

    epochs: int = 10
    """Passes over the train seeds."""

    lr: float = 0.01
    """Learning rate of Adam."""

    weight_decay: float = 0.0
    """Weight decay of Adam."""

    eval_every: int = 1
    """Epochs between two exact evaluations over all neighbours; 0 evaluates at the end only."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: if a value is out of range.
        """
        require(self.epochs >= 1, f"epochs must be at least 1, got {self.epochs}")
        require(self.lr > 0, f"lr must be positive, got {self.lr}")
        require(
            self.weight_decay >= 0, f"weight_decay must not be negative, got {self.weight_decay}"
        )
        require(self.eval_every >= 0, f"eval_every must not be negative, got {self.eval_every}")
