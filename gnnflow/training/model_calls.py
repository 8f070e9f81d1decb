"""How a model is called for its outputs: over how many hops, with what of edges and in-degrees."""

import functools
import inspect
import logging
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from gnnflow.errors import ConfigError
from gnnflow.graph import DistGraph
from gnnflow.loader.arguments import as_whole_number

_LOGGER = logging.getLogger(__name__)

AUTO = "auto"
_REQUIRED = inspect.Parameter.empty
EDGE_ARGUMENTS = ("edge_attr", "edge_weight", "edge_type")
"""Names of arguments that take what the graph knows of its edges."""

_OF_SOURCE_DEGREES = frozenset(
    {
        *("APPNP", "ARMAConv", "ChebConv", "DNAConv", "EGConv", "FAConv", "GCN2Conv", "GCNConv"),
        *("LGConv", "MixHopConv", "PDNConv", "SGConv", "SSGConv", "TAGConv"),
    }
)
"""PyG's layers that weigh an edge by the degree of its source, which a further hop shows."""


def device_of(model: nn.Module) -> torch.device:
    """Where a model is; the CPU if it holds nothing."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


def num_hops_of(model: nn.Module, given: int | None) -> int:
    """Hops whose neighbours a minibatch has to hold, for its seeds to see all that they look at.

    Args:
        model: a model without `layer`.
        given: hops that the model looks at; by default its `num_layers`, if every layer of it looks
            one hop further.

    Raises:
        ConfigError: if the hops are not known.
    """
    layers = [module for module in model.modules() if isinstance(module, MessagePassing)]
    hops = given
    if hops is None:
        hops = getattr(model, "num_layers", None)
        far = any(getattr(layer, "K", 1) != 1 for layer in layers)
        if isinstance(hops, bool) or not isinstance(hops, int) or len(layers) > hops or far:
            raise ConfigError(
                f"{type(model).__name__} has no 'num_layers' and 'layer' to compute it by; give "
                "num_hops=, the number of hops it looks at"
            )
    hops = as_whole_number("num_hops", hops, least=1)
    return hops + any(_weighs_by_source_degree(layer) for layer in layers)


class EdgeArgument:
    """The argument of a model that takes the attributes of the graph's edges, if one does."""

    def __init__(self, model: nn.Module, method: str, graph: DistGraph, wanted: str | None) -> None:
        """Chooses it.

        Args:
            model: the model, unwrapped.
            method: what is called of it, with rows and edges first: `forward` or `layer`.
            graph: the graph of this rank.
            wanted: the name; None hands nothing over, `auto` goes by `uses_edge_attr` of the model
                and else by the names of the arguments, and says so if the model would do without.

        Raises:
            ConfigError: if the graph has not what the model needs, or it is not clear which
                argument takes it.
            DataError: if the model says `uses_edge_attr` and edges have no attributes.
        """
        model = getattr(model, "_orig_mod", model)  # inside what torch.compile makes
        self._about = f"{type(model).__name__}.{method}"
        self._parameters = _parameters_of(model, method)
        self._has_attributes = bool(graph.edges.array_names)
        if wanted == AUTO and getattr(model, "uses_edge_attr", False):
            graph.edges.store("edge_attr")
            self.name: str | None = "edge_attr"
        elif wanted == AUTO:
            self.name = None
            if self._has_attributes and not hasattr(model, "uses_edge_attr"):
                self.name = self._by_name(model, graph)
        else:
            self.name = None if wanted is None else self._checked(wanted, graph)
        self._check_others()

    def take(self, rows: Tensor, device: torch.device) -> Tensor:
        """Attributes of edges as the argument takes them."""
        if self.name == "edge_type":
            return rows.to(device, torch.int64).reshape(-1)
        if self.name == "edge_weight":
            return rows.to(device, torch.float32).reshape(-1)
        return rows.to(device, torch.float32)

    def _by_name(self, model: nn.Module, graph: DistGraph) -> str | None:
        """The one argument whose name fits and that can take these attributes."""
        found = [name for name in EDGE_ARGUMENTS if name in self._parameters and _uses(model, name)]
        needed = [name for name in found if self._parameters[name].default is _REQUIRED]
        fitting = [name for name in needed or found if not _misfit(name, graph)]
        if len(fitting) > 1:
            raise ConfigError(
                f"{self._about} takes {' and '.join(fitting)}, and a graph has one array of its "
                f"edges; say which one it is: edge_argument='{fitting[0]}', or None for neither"
            )
        if not fitting:
            return None
        [name] = fitting
        if not needed and graph.ctx.rank == 0:
            _say_once(self._about, name)
        return name

    def _checked(self, name: str, graph: DistGraph) -> str:
        if not self._has_attributes:
            raise ConfigError(
                f"edge_argument is '{name}', but the edges of this graph have no attributes; "
                "partition it with --edge-features FILE or leave it out"
            )
        takes_any = any(
            parameter.kind is parameter.VAR_KEYWORD for parameter in self._parameters.values()
        )
        if name not in self._parameters and not takes_any:
            known = ", ".join(self._parameters)
            raise ConfigError(
                f"edge_argument must be an argument of {self._about} ({known}), got '{name}'"
            )
        if (why := _misfit(name, graph)) is not None:
            raise ConfigError(f"edge_argument is '{name}', which takes {why}")
        return name

    def _check_others(self) -> None:
        """Refuses a model that needs what nobody hands over."""
        positional = [
            parameter
            for parameter in self._parameters.values()
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        ]
        takes_any = any(
            parameter.kind is parameter.VAR_POSITIONAL for parameter in self._parameters.values()
        )
        num_first = 3 if self._about.endswith(".layer") else 2
        if len(positional) < num_first and not takes_any:
            first = "index, (x_src, x_dst), edge_index" if num_first == 3 else "x, edge_index"
            raise ConfigError(
                f"{self._about} takes ({', '.join(self._parameters)}), but is called with "
                f"({first}); give it these arguments"
            )
        first_names = {parameter.name for parameter in positional[:num_first]}
        for name, parameter in self._parameters.items():
            is_variable = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            if name in first_names or name == self.name or is_variable:
                continue
            if parameter.default is not _REQUIRED:
                continue
            remedy = "give it a default"
            if name in EDGE_ARGUMENTS and not self._has_attributes:
                remedy = (
                    "the edges of this graph have no attributes: partition it with "
                    "--edge-features FILE"
                )
            elif self._has_attributes and self.name is None:
                remedy += f", or edge_argument='{name}' if it takes the attributes of the edges"
            raise ConfigError(f"{self._about} needs '{name}', which is not handed over; {remedy}")


def _weighs_by_source_degree(layer: nn.Module) -> bool:
    names = {kind.__name__ for kind in type(layer).__mro__}
    return bool(names & _OF_SOURCE_DEGREES) and getattr(layer, "normalize", True) is not False


def _uses(model: nn.Module, name: str) -> bool:
    """Whether one of PyG's models, which all have the same arguments, uses this one."""
    if not hasattr(model, f"supports_{name}"):
        return True
    dims = [layer.edge_dim for layer in model.modules() if hasattr(layer, "edge_dim")]
    made_for = name != "edge_attr" or not dims or any(dim is not None for dim in dims)
    return bool(getattr(model, f"supports_{name}")) and made_for


def _misfit(name: str, graph: DistGraph) -> str | None:
    """What an argument takes, if that is something else than the attributes of these edges."""
    width, dtype = graph.edges.num_features, graph.edges.store("edge_attr").dtype
    if name == "edge_weight" and width != 1:
        return f"one number per edge, and the edges of this graph have {width}"
    if name == "edge_type" and (width != 1 or dtype.kind not in "iu"):
        return (
            f"one whole number per edge, and the edges of this graph have {width} of type {dtype}"
        )
    return None


def _parameters_of(model: nn.Module, method: str) -> Mapping[str, inspect.Parameter]:
    described = getattr(getattr(model, "signature", None), "param_dict", None)
    if described is not None and method == "forward":
        # PyG's Sequential takes anything and keeps its own list.
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        return {name: inspect.Parameter(name, kind) for name in described}
    try:
        return inspect.signature(getattr(model, method)).parameters
    except (TypeError, ValueError):
        return inspect.signature(lambda *args, **options: None).parameters


@functools.cache
def _say_once(about: str, name: str) -> None:
    _LOGGER.warning(
        "%s gets the attributes of the edges as %s; edge_argument=None leaves them out",
        about,
        name,
    )
