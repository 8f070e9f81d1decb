"""Options: the network."""

from dataclasses import dataclass
from typing import Literal

from gnnflow.config.values import require
from gnnflow.config.whole_numbers import check_whole_numbers


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
        require(self.hidden >= 1, f"hidden must be at least 1, got {self.hidden}")
        require(0 <= self.dropout < 1, f"dropout must be in [0, 1), got {self.dropout}")
