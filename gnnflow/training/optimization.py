"""Optimizers and learning rates by option: torch's, and one object to step and save."""

import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from gnnflow.config import OptimizationConfig, TrainConfig
from gnnflow.errors import ConfigError
from gnnflow.graph import DistGraph
from gnnflow.training.checkpoints.state_tree import check_kinds


def make_optimizer(
    config: OptimizationConfig, parameters: Iterable[nn.Parameter]
) -> torch.optim.Optimizer:
    """Makes the optimizer that the options name."""
    common: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay}
    if config.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=config.momentum, **common)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(parameters, **common)
    return torch.optim.Adam(parameters, **common)


class LearningRate:
    """Changes the learning rate while training goes on, as the options say."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, config: OptimizationConfig, num_steps: int
    ) -> None:
        """Starts at the beginning of the run.

        Args:
            optimizer: whose learning rate it is.
            config: the options.
            num_steps: steps of an epoch.
        """
        self._optimizer = optimizer
        self._config = config
        self._num_steps = num_steps
        self._num_updates = 0
        self._by_step = self._make()
        self._plateau: ReduceLROnPlateau | None = None
        if config.schedule == "plateau":
            self._plateau = ReduceLROnPlateau(
                # torch lowers it after more than so many.
                optimizer,
                mode="max",
                factor=config.lr_factor,
                patience=config.lr_patience - 1,
                threshold=0.0,
            )

    @property
    def current(self) -> float:
        """The learning rate of the next step."""
        return float(self._optimizer.param_groups[0]["lr"])

    def after_step(self) -> None:
        """Notes a step of the optimizer."""
        self._num_updates += 1
        if self._by_step is not None:
            self._by_step.step()

    def after_evaluation(self, score: float | None) -> None:
        """Notes a validation score, larger is better."""
        if self._plateau is not None and score is not None:
            self._plateau.step(score)

    def go_to(self, num_updates: int) -> None:
        """Goes to where it is after so many steps, when steps were lost or became others."""
        if num_updates == self._num_updates:
            return
        self._num_updates = num_updates
        if self._by_step is None or self._plateau is not None:
            return
        for group in self._optimizer.param_groups:
            group["lr"] = self._config.lr
            group.pop("initial_lr", None)
        self._by_step = restarted = self._make()
        assert restarted is not None
        with warnings.catch_warnings():
            # Steps without the optimizer are meant here.
            warnings.filterwarnings("ignore", message=r"Detected call of `lr_scheduler\.step\(\)`")
            for _ in range(num_updates):
                restarted.step()

    def state_dict(self) -> dict[str, Any]:
        """Where it is, and the options that it follows."""
        return {
            "options": self._options(),
            "num_updates": self._num_updates,
            "by_step": None if self._by_step is None else self._by_step.state_dict(),
            "plateau": None if self._plateau is None else self._plateau.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a state.

        Raises:
            ValueError: if that state follows other options.
        """
        there, here = state_dict["options"], self._options()
        if there != here:
            name = next(name for name in here if there.get(name) != here[name])
            raise ValueError(f"{name} was {there.get(name)} and is {here[name]}")
        here = self.state_dict()
        check_kinds(state_dict, {"num_updates": here["num_updates"]})
        for name in ("by_step", "plateau"):
            if here[name] is not None:
                check_kinds(state_dict[name], here[name])
        self._num_updates = state_dict["num_updates"]
        if self._by_step is not None:
            self._by_step.load_state_dict(state_dict["by_step"])
        if self._plateau is not None:
            self._plateau.load_state_dict(state_dict["plateau"])

    def _options(self) -> dict[str, Any]:
        """The options that the course of the learning rate depends on."""
        config = self._config
        options: dict[str, Any] = {
            "schedule": config.schedule,
            "lr": config.lr,
            "warmup_steps": config.warmup_steps,
        }
        if config.schedule in ("step", "plateau"):
            options |= {"lr_factor": config.lr_factor, "lr_patience": config.lr_patience}
        if config.schedule == "cosine":
            options["epochs"] = config.epochs
        return options

    def _make(self) -> LRScheduler | None:
        config, optimizer, warmup = self._config, self._optimizer, self._config.warmup_steps
        rising: LRScheduler | None = None
        falling: LRScheduler | None = None
        if warmup:
            rising = LinearLR(optimizer, 1.0 / (warmup + 1), total_iters=warmup)
        if config.schedule == "cosine":
            total = max(config.epochs * self._num_steps - warmup, 1)
            falling = CosineAnnealingLR(optimizer, total)
        elif config.schedule == "step":
            falling = StepLR(optimizer, config.lr_patience * self._num_steps, config.lr_factor)
        if rising is not None and falling is not None:
            return SequentialLR(optimizer, [rising, falling], [warmup])
        return rising or falling


class EarlyStopping:
    """Counts evaluations since the best validation score."""

    def __init__(self, patience: int) -> None:
        """Starts without a score.

        Args:
            patience: evaluations without a better score after which to stop; 0 never stops.
        """
        self._patience = patience
        self.best: float | None = None
        """Best score so far, larger is better."""
        self.num_without = 0
        """Evaluations since then."""

    @property
    def stops(self) -> bool:
        """Whether it is time to stop."""
        return 0 < self._patience <= self.num_without

    def after_evaluation(self, score: float | None) -> None:
        """Notes a validation score; None (nothing was evaluated) counts as no evaluation."""
        if score is None:
            return
        if self.best is None or score > self.best:
            self.best, self.num_without = score, 0
        else:
            self.num_without += 1

    def state_dict(self) -> dict[str, Any]:
        """Best score and evaluations since."""
        return {"best": self.best, "num_without": self.num_without}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on counting."""
        self.best, self.num_without = state_dict["best"], state_dict["num_without"]


def check_stopping(config: TrainConfig, graph: DistGraph) -> None:
    """Refuses options that do nothing without validation scores."""
    has_scores = "val" in graph.manifest.splits and any(graph.num_seeds("val"))
    if has_scores:
        return
    if config.optimization.patience:
        given = f"patience is {config.optimization.patience}"
    elif config.optimization.schedule == "plateau":
        given = "schedule is plateau"
    else:
        return
    raise ConfigError(
        f"{given}, but {config.parts} has no validation seeds and so no score to go by; leave it "
        "out, or partition the graph with a validation split"
    )
