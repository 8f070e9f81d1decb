"""What the contenders of a comparison train with: one record, which each of them gets as it is.

It needs nothing but Python: peers read it in environments of their own.
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

FILE = "hyperparameters.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Hyperparameters:
    """All that decides how fast a network learns.

    No field has a default, here or in a peer's script: what one side is told the other is told too.
    """

    model: str
    """Kind of layer."""
    aggregation: str
    """What a layer makes of the rows of neighbours."""
    activation: str
    """Between layers."""
    normalization: str
    """Of activations between layers."""
    hidden: int
    """Width of the hidden layers."""
    dropout: float
    """Share of hidden activations dropped while training."""
    loss: str
    """What is made small."""
    optimizer: str
    """With the constants that torch gives it."""
    lr: float
    """Learning rate."""
    weight_decay: float
    """Weight decay of the optimizer."""
    schedule: str
    """How the learning rate changes."""
    fanout: tuple[int, ...]
    """Neighbours kept per hop, from the seeds outwards; a layer for each hop."""
    replace: bool
    """Whether a neighbour may be drawn twice."""
    batch_size: int
    """Seed vertices of one rank in one minibatch; on average over the ranks, at most."""
    cut: str
    """How an epoch's seeds become minibatches: `evenly` over as few steps as there can be, because
    a small last minibatch is a noisy step of full length."""
    epochs: int
    """Passes over the train seeds after which accuracies are compared."""
    seed: int
    """Of minibatches and weights."""

    def layer_sizes(self, num_inputs: int, num_outputs: int) -> list[tuple[int, int]]:
        """Inputs and outputs of each layer."""
        sizes = [num_inputs, *[self.hidden] * (len(self.fanout) - 1), num_outputs]
        return list(zip(sizes[:-1], sizes[1:], strict=True))

    def even_batch_size(self, num_seeds: int, num_job_seeds: int, num_ranks: int) -> int:
        """Seeds of a minibatch of a trainer whose seeds are cut evenly.

        Args:
            num_seeds: Train seeds of the trainer.
            num_job_seeds: Those of all trainers.
            num_ranks: Ranks that the trainers stand for.
        """
        steps = -(-num_job_seeds // (num_ranks * self.batch_size))
        return max(1, -(-num_seeds // max(1, steps)))

    def to_json(self) -> dict[str, Any]:
        """Returns the record as `of_json` takes it."""
        return asdict(self) | {"fanout": list(self.fanout)}

    @classmethod
    def of_json(cls, values: dict[str, Any]) -> Self:
        """Makes the record of what `to_json` returned.

        Raises:
            ValueError: If a field is missing or unknown.
        """
        names = {field.name for field in fields(cls)}
        if values.keys() != names:
            raise ValueError(f"hyperparameters differ in {sorted(values.keys() ^ names)}")
        return cls(**values | {"fanout": tuple(values["fanout"])})

    def write(self, folder: Path) -> None:
        """Writes the record for a peer's process."""
        (folder / FILE).write_text(json.dumps(self.to_json(), allow_nan=False))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Reads what `write` wrote to the folder."""
        return cls.of_json(json.loads((folder / FILE).read_text()))


HYPERPARAMETERS = Hyperparameters(
    model="sage",
    aggregation="mean",
    activation="relu",
    normalization="none",
    hidden=128,
    dropout=0.5,
    loss="cross-entropy",
    optimizer="adam",
    lr=0.01,
    weight_decay=0.0,
    schedule="constant",
    fanout=(25, 10),
    replace=False,
    batch_size=500,
    cut="evenly",
    epochs=4,
    seed=0,
)
"""What benchmarks train with, but for what a graph asks for."""
