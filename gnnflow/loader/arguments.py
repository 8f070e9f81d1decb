"""What users give a loader, in the forms that PyG users have: lists, tensors, masks, words."""

import math
import operator
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, SupportsIndex, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch_geometric.sampler import NegativeSampling

from gnnflow.config import parse_int_list
from gnnflow.errors import ConfigError, DataError
from gnnflow.graph import DistGraph

Fanout: TypeAlias = int | str | Sequence[int] | NDArray[np.integer] | Tensor
"""Neighbours kept per hop: a list, `"10,25"` as on the command line, or a number for one hop."""

_ORDER = (
    "PyG's loaders take the fanout before the seeds, these after them: name them (seeds=, fanout=)"
)


def as_whole_number(name: str, value: object, *, least: int | None = None) -> int:
    """A whole number of Python, NumPy or torch.

    Args:
        name: what the number is called.
        value: what was given.
        least: the smallest that will do.

    Raises:
        ConfigError: if it is none, or too small.
    """
    try:
        assert isinstance(value, SupportsIndex) and not isinstance(value, bool)
        number = operator.index(value)
    except (AssertionError, TypeError):
        raise ConfigError(f"{name} must be a whole number, got {reprlib.repr(value)}") from None
    if least is not None and number < least:
        raise ConfigError(f"{name} must be at least {least}, got {number}")
    return number


def as_fanout(value: object) -> tuple[int, ...]:
    """Neighbours kept per hop, seeds first.

    Raises:
        ConfigError: if a hop's fanout is neither positive nor -1, or there is no hop.
    """
    if isinstance(value, Mapping):
        raise ConfigError(
            f"fanout must be one list for all edges, got {reprlib.repr(value)}: the edges of a "
            "graph are of one type here"
        )
    try:
        given = value
        if isinstance(value, str):
            given = parse_int_list(value)
        elif isinstance(value, np.ndarray | Tensor):
            given = value.tolist()
        hops = given if isinstance(given, Iterable) else [given]
        numbers = tuple(as_whole_number("fanout", hop) for hop in hops)
    except ValueError:
        raise ConfigError(
            "fanout needs a whole number for each hop, as [10, 25], '10,25' or 10, got "
            f"{reprlib.repr(value)}; {_ORDER}"
        ) from None
    if not numbers or any(count < 1 and count != -1 for count in numbers):
        raise ConfigError(
            "fanout needs a number for each hop, at least 1 or -1 for all neighbours, "
            f"got {list(numbers)}"
        )
    return numbers


def as_array(name: str, value: object) -> NDArray[Any]:
    """An array of what may be a list, an array or a tensor on any device.

    Raises:
        DataError: if no array can be made of it.
    """
    try:
        if isinstance(value, Tensor):
            return np.asarray(value.detach().cpu().numpy())
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        raise DataError(
            f"{name} must be an array, a tensor or a list of numbers, got {reprlib.repr(value)}"
        ) from None


def as_seeds(graph: DistGraph, value: str | ArrayLike | None) -> NDArray[Any]:
    """The seeds of this rank, global ids as far as they are ids.

    Args:
        graph: the graph of this rank.
        value: a split, ids, a mask over the vertices of the graph or of this rank, or None for all
            vertices of this rank.

    Raises:
        DataError: if there is no such split, or a mask is of another length.
    """
    low, high = graph.book.range(graph.ctx.rank)
    if value is None:
        return np.arange(low, high, dtype=np.int64)
    if isinstance(value, str):
        if value not in graph.splits:
            known = ", ".join(graph.splits) or "none"
            raise DataError(f"{graph.path} has no split '{value}'; it has: {known}")
        return graph.splits[value]
    array = as_array("seeds", value)
    if array.dtype != np.bool_:
        return array
    if array.shape == (graph.num_vertices,):
        # As a Data object has it; each rank takes those of its own vertices.
        array = array[np.asarray(graph.partition.original_id)]
    elif array.shape != (high - low,):
        raise DataError(
            f"seeds is a mask of shape {list(array.shape)}; a mask has an entry for each of the "
            f"{graph.num_vertices} vertices of the graph, by their ids in the input, or for each "
            f"of the {high - low} of this rank"
        )
    return low + np.flatnonzero(array)


def as_names(name: str, value: str | Sequence[str]) -> tuple[str, ...]:
    """Names in a list; a single one may come without.

    Raises:
        ConfigError: if they are no words.
    """
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, Iterable) or not all(isinstance(each, str) for each in names):
        raise ConfigError(f"{name} must be a list of names, got {reprlib.repr(value)}")
    return tuple(names)


def as_device(value: torch.device | str | int | None) -> torch.device | None:
    """A device, by its name as well.

    Raises:
        ConfigError: if torch knows no such device.
    """
    try:
        return None if value is None else torch.device(value)
    except (RuntimeError, TypeError):
        raise ConfigError(f"device must be None, cpu or cuda, got {reprlib.repr(value)}") from None


def as_labels(value: object) -> Tensor:
    """Labels of edges as a tensor.

    Raises:
        DataError: if they are no numbers.
    """
    try:
        return (value if isinstance(value, Tensor) else torch.as_tensor(value)).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        raise DataError(
            f"edge_label must hold a number for each edge, got {reprlib.repr(value)}"
        ) from None


def as_negatives(
    sampling: NegativeSampling | str | Mapping[str, Any] | None,
    ratio: float | np.number[Any] | Tensor | None,
) -> NegativeSampling | None:
    """How negatives are drawn, from the two ways in which PyG lets one say it.

    Raises:
        ConfigError: if both ways are used, or one in a way that means nothing.
    """
    if ratio is not None and not isinstance(ratio, int | float | np.number | Tensor):
        raise ConfigError(f"neg_sampling_ratio must be a number, got {reprlib.repr(ratio)}")
    # A whole number stays one: it is part of what tells schedules apart.
    number: Any = ratio.item() if isinstance(ratio, np.number | Tensor) else ratio
    if number is not None and not math.isfinite(number):
        raise ConfigError(f"neg_sampling_ratio must be a finite number, got {ratio}")
    if sampling is not None and number:
        raise ConfigError("give neg_sampling or neg_sampling_ratio, not both")
    try:
        if number:
            return NegativeSampling("binary", number)
        negatives: NegativeSampling | None = NegativeSampling.cast(sampling)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{error}; neg_sampling is 'binary' or 'triplet' with a positive amount"
        ) from None
    return negatives


def check_graph(graph: object) -> None:
    """Checks that a graph is one that is open on all ranks.

    Raises:
        ConfigError: if it is something else, as a `Data`.
    """
    if not isinstance(graph, DistGraph):
        raise ConfigError(
            f"graph must be a gnnflow.DistGraph, got a {type(graph).__name__}; partition it once "
            "(gnnflow.datasets.from_pyg, gnnflow-partition) and open the parts"
        )


def check_memory(device: torch.device | None, pin_memory: bool) -> None:
    """Checks where features are to lie.

    Raises:
        ConfigError: if the GPU that it takes is not there, or both are asked for.
    """
    if pin_memory and not torch.cuda.is_available():
        raise ConfigError("pin_memory needs a GPU that torch can use; leave it out")
    if device is None:
        return
    if pin_memory:
        raise ConfigError(f"pin_memory is for features on the CPU, got device={device}; use one")
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device must be None, cpu or cuda, got {device}")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device is {device}, but torch finds no GPU here; leave it out")
