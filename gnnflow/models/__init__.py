"""Graph neural networks on PyG convolutions, by name."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from gnnflow.config import TrainConfig
from gnnflow.errors import ConfigError, did_you_mean
from gnnflow.first_hop import FirstHop
from gnnflow.models.aggregation import aggregate
from gnnflow.models.gat import GAT
from gnnflow.models.gcn import GCN
from gnnflow.models.gin import GIN
from gnnflow.models.gine import GINE
from gnnflow.models.layer_adjacency import LayerAdjacency, layer_adjacencies
from gnnflow.models.layered_model import LayeredModel
from gnnflow.models.sage import SAGE

__all__ = [
    "EDGE_MODELS",
    "GAT",
    "GCN",
    "GIN",
    "GINE",
    "MODELS",
    "SAGE",
    "LayerAdjacency",
    "LayeredModel",
    "aggregate",
    "build_model",
    "layer_adjacencies",
    "make_model",
    "stored_hop_of",
]

MODELS: Mapping[str, Callable[[Sequence[int], float], LayeredModel]] = MappingProxyType(
    {"gat": GAT, "gcn": GCN, "gin": GIN, "sage": SAGE}
)
EDGE_MODELS: Mapping[str, Callable[[Sequence[int], float, int], LayeredModel]] = MappingProxyType(
    {"gine": GINE}
)
"""Models that use the attributes of edges."""


def make_model(
    name: str, dims: Sequence[int], dropout: float = 0.0, num_edge_features: int = 0
) -> LayeredModel:
    """Makes a model by name.

    Args:
        name: one of `MODELS` or `EDGE_MODELS`.
        dims: width of the features, of each hidden layer and of the output.
        dropout: share of hidden activations dropped while training, in [0, 1).
        num_edge_features: numbers in the attributes of an edge, 0 if edges have none.

    Raises:
        ConfigError: if there is no such model, `dims` has fewer than two widths, or the model needs
            attributes of edges and there are none.
    """
    known = sorted([*MODELS, *EDGE_MODELS])
    if name not in known:
        hint = did_you_mean(name, known)
        raise ConfigError(f"model must be one of {', '.join(known)}, got '{name}'{hint}")
    if len(dims) < 2 or min(dims) < 1:
        raise ConfigError(f"a model needs positive input and output widths, got {list(dims)}")
    if name in EDGE_MODELS and num_edge_features < 1:
        raise ConfigError(
            f"model '{name}' uses attributes of edges and the graph has none; partition it with "
            f"--edge-features FILE or choose one of {', '.join(MODELS)}"
        )
    options = {"name": name, "dims": list(dims), "dropout": dropout}
    if name in MODELS:
        model = MODELS[name](dims, dropout)
    else:
        model = EDGE_MODELS[name](dims, dropout, num_edge_features)
        options["num_edge_features"] = num_edge_features
    model.options = options
    return model


def build_model(
    config: TrainConfig, num_features: int, num_classes: int, num_edge_features: int = 0
) -> LayeredModel:
    """Makes the model that a training configuration describes, one layer per hop of its fanout."""
    hidden = [config.model.hidden] * (len(config.sampling.fanout) - 1)
    dims = [num_features, *hidden, num_classes]
    return make_model(config.model.model, dims, config.model.dropout, num_edge_features)


def stored_hop_of(config: TrainConfig) -> FirstHop | None:
    """What a stored first hop has to hold for the model of a training configuration, if any.

    Raises:
        ConfigError: if the first layer of the model needs the edges themselves.
    """
    if config.sampling.first_hop == "sampled":
        return None
    kinds = {name: getattr(model, "first_hop", None) for name, model in MODELS.items()}
    kind: FirstHop | None = kinds.get(config.model.model)
    if kind is None:
        known = ", ".join(name for name, found in kinds.items() if found)
        raise ConfigError(
            "first_hop stored needs a model whose first layer takes a sum or mean of features "
            f"({known}), got {config.model.model}; choose one of these or leave out --first-hop"
        )
    return kind
