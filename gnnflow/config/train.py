"""Options: everything that gnnflow-train takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from gnnflow.config.cache import CacheConfig
from gnnflow.config.infer import CHUNK_BYTES
from gnnflow.config.option_values import (
    IntList,
    check_whole_numbers,
    require,
    require_at_least,
    require_not_negative,
    require_positive,
)
from gnnflow.config.policy import PolicyConfig
from gnnflow.config.runtime import RuntimeConfig

DEFAULT_DRAW_EVERY = 16
"""Steps for which a source keeps its key in dependent draws."""

RESUME_AUTO = "auto"
"""The value of `resume` for the newest checkpoint."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """Which network is trained."""

    model: Literal["sage", "gat", "gcn", "gin", "gine"] = "sage"
    """Kind of layer: GraphSAGE (mean), GAT (attention), GCN, GIN, or GINE, which uses attributes of
    edges; one for each hop of fanout."""

    hidden: int = 256
    """Width of the hidden layers."""

    dropout: float = 0.5
    """Share of hidden activations dropped while training, in [0, 1)."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: if a value is out of range.
        """
        check_whole_numbers(self)
        require_at_least(self, 1, "hidden")
        require(0 <= self.dropout < 1, f"dropout must be in [0, 1), got {self.dropout}")


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingConfig:
    """How minibatches are made."""

    fanout: IntList = (10, 25)
    """Neighbours kept per hop, from the seeds outwards; -1 keeps all."""

    batch_size: int = 512
    """Seed vertices of one rank in one minibatch."""

    edge_weights: str | None = None
    """Name of the edge weights by which neighbours are drawn, with every draw: weight, as
    gnnflow-partition --edge-weights keeps them. Edges of weight 0 are never drawn."""

    draw: Literal["independent", "shared", "dependent"] = "independent"
    """Which neighbours are kept: a draw for each vertex (independent), or those whose sources have
    the smallest keys, so that all minibatches of a step prefer the same ones (shared) and those of
    the next steps too (dependent): fewer rows move, and fewer vertices are computed."""

    draw_every: int = DEFAULT_DRAW_EVERY
    """Draw dependent: steps for which a source keeps its key. More move fewer rows; many more than
    some tens cost accuracy."""

    first_hop: Literal["sampled", "stored"] = "sampled"
    """Models sage, gcn, gin: what the first layer takes. Neighbours that are sampled as the last
    hop of fanout, or what all of them give, which is computed once, kept beside the partition and
    fetched with the features (stored): minibatches have a hop less, move a fraction of the bytes,
    and the first layer is exact."""

    first_hop_bytes: int = CHUNK_BYTES
    """First hop stored: memory of a rank that computing it may take."""

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: if a value is out of range.
        """
        check_whole_numbers(self)
        require(len(self.fanout) >= 1, "fanout needs at least one hop, as 10,25")
        for number in self.fanout:
            require(
                number >= 1 or number == -1,
                f"fanout of a hop must be at least 1 or -1 for all, got {number}",
            )
        require_at_least(self, 1, "batch_size", "draw_every", "first_hop_bytes")
        require(
            self.first_hop == "sampled" or self.edge_weights is None,
            f"first_hop stored has all in-neighbours alike, and edge_weights {self.edge_weights} "
            "draws them by weight; leave out one of the two",
        )


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
        require_at_least(self, 1, "epochs")
        require_positive("lr", self.lr, "0.01 is the default")
        require(0 <= self.momentum < 1, f"momentum must be in [0, 1), got {self.momentum}")
        require(0 < self.lr_factor < 1, f"lr_factor must be in (0, 1), got {self.lr_factor}")
        require_at_least(self, 1, "lr_patience")
        require_positive("clip_norm", self.clip_norm, "leave it out to clip nothing")
        require_not_negative("weight_decay", self.weight_decay, "0 is the default")
        require_at_least(self, 0, "warmup_steps", "patience", "eval_every")
        require(
            self.eval_every > 0 or not (self.patience or self.schedule == "plateau"),
            "patience and schedule plateau need evaluations during training; eval_every must be "
            "at least 1, got 0",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordsConfig:
    """What the run says, and whom it tells besides its folder."""

    tensorboard: bool = False
    """Also write what TensorBoard reads, into the folder tensorboard of the run."""

    wandb: str | None = None
    """Also log to this project of Weights & Biases."""

    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    """What is logged on stderr, each line with the rank that says it."""


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
        require_at_least(self, 0, "save_every")
        require_at_least(self, 1, "keep_last")
        require(
            self.checkpoint_dir is not None or not self.save_every,
            f"save_every is {self.save_every} but there is no folder to save in; "
            "give --checkpoint-dir",
        )
        require(
            self.checkpoint_dir is not None or self.resume != RESUME_AUTO,
            "resume is auto but there is no folder to look in; give --checkpoint-dir",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Trains a graph neural network on a folder of partitions, one rank per part."""

    parts: tyro.conf.Positional[Path]
    """Partition folder, as written by gnnflow-partition."""

    model: tyro.conf.OmitArgPrefixes[ModelConfig] = ModelConfig()
    sampling: tyro.conf.OmitArgPrefixes[SamplingConfig] = SamplingConfig()
    optimization: tyro.conf.OmitArgPrefixes[OptimizationConfig] = OptimizationConfig()
    cache: tyro.conf.OmitArgPrefixes[CacheConfig] = CacheConfig()
    policy: tyro.conf.OmitArgPrefixes[PolicyConfig] = PolicyConfig()
    runtime: tyro.conf.OmitArgPrefixes[RuntimeConfig] = RuntimeConfig()
    records: tyro.conf.OmitArgPrefixes[RecordsConfig] = RecordsConfig()
    checkpoint: tyro.conf.OmitArgPrefixes[CheckpointConfig] = CheckpointConfig()
