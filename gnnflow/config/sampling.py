"""Options: how minibatches are made."""

from dataclasses import dataclass

from gnnflow.config.values import IntList, require
from gnnflow.config.whole_numbers import check_whole_numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingConfig:
    """How minibatches are made."""

    fanout: IntList = (10, 25)
    """Neighbours kept per hop, from the seeds outwards; -1 keeps all."""

    batch_size: int = 512
    """Seed vertices of one rank in one minibatch."""

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
        require(self.batch_size >= 1, f"batch_size must be at least 1, got {self.batch_size}")
