"""Parameters of PyG's loaders that have another name here, or no meaning."""

import logging
import reprlib
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, TypedDict

from numpy.typing import ArrayLike

from gnnflow.comm import Context
from gnnflow.errors import ConfigError, did_you_mean
from gnnflow.loader.arguments import Fanout

_LOGGER = logging.getLogger(__name__)


class PygNames(TypedDict, total=False):
    """What PyG's loaders take and gnnflow's have no parameter for, by PyG's names."""

    num_neighbors: Fanout
    input_nodes: str | ArrayLike | None
    num_workers: int
    persistent_workers: bool
    prefetch_factor: int | None
    worker_init_fn: object
    multiprocessing_context: object
    timeout: float
    in_order: bool
    filter_per_worker: bool | None
    pin_memory_device: str
    is_sorted: bool
    drop_last: bool
    directed: bool
    disjoint: bool
    subgraph_type: object
    temporal_strategy: str
    time_attr: str | None
    input_time: object
    edge_label_time: object
    collate_fn: object
    sampler: object
    batch_sampler: object
    generator: object
    neighbor_sampler: object
    transform_sampler_output: object
    custom_cls: object
    input_id: object


_OF_WORKERS = frozenset(
    {
        *("num_workers", "persistent_workers", "prefetch_factor", "worker_init_fn", "timeout"),
        *("multiprocessing_context", "filter_per_worker", "pin_memory_device"),
    }
)
"""How processes make minibatches: here threads do."""

_EVEN = "seeds are spread evenly over the steps, so there is no small last batch to drop"
_OWN_SAMPLER = "the loader has a sampler of its own"
_DATED = "minibatches do not look at the time of edges"
_ORDER = "the order of the seeds is a function of seed=, or comes in a SeedSchedule as seeds="
_OTHERS: Mapping[str, tuple[tuple[object, ...], str]] = MappingProxyType(
    {
        "is_sorted": ((False, True), "edges are sorted"),
        "in_order": ((True, False), "minibatches come in order"),
        "drop_last": ((False,), _EVEN),
        "directed": ((True,), "subgraphs hold the edges that were sampled"),
        "disjoint": ((False,), "seeds share one subgraph"),
        "subgraph_type": (("directional",), "subgraphs hold the edges that were sampled"),
        "temporal_strategy": (("uniform",), _DATED),
        "time_attr": ((None,), _DATED),
        "input_time": ((None,), _DATED),
        "edge_label_time": ((None,), _DATED),
        "collate_fn": ((None,), "minibatches are made ahead; transform= changes each of them"),
        "sampler": ((None,), _ORDER),
        "batch_sampler": ((None,), _ORDER),
        "generator": ((None,), _ORDER),
        "neighbor_sampler": ((None,), _OWN_SAMPLER),
        "transform_sampler_output": ((None,), f"{_OWN_SAMPLER}; transform= sees the minibatch"),
        "custom_cls": ((None,), "a minibatch is a Data"),
        "input_id": ((None,), "input_id of a batch are the positions in the list of seeds"),
    }
)
"""The values that say what holds anyway, and why others have no meaning."""


def take_pyg_names(
    names: Mapping[str, object],
    ctx: Context,
    own: Collection[str],
    **renamed: tuple[str, object, object],
) -> list[Any]:
    """Looks at what was given by PyG's names.

    Args:
        names: what was given by name, the loader's own parameters left alone.
        ctx: the job; rank 0 says what is ignored.
        own: the loader's own parameters.
        renamed: for parameters that have another name here, by PyG's: our name, what was given by
            it, and its default.

    Returns:
        The values of the renamed parameters, in their order.

    Raises:
        ConfigError: if a name is unknown, has no meaning here, or is given by both names.
    """
    for name, value in names.items():
        if name in renamed or name in _OF_WORKERS or name in own:
            continue
        if name not in _OTHERS:
            hint = did_you_mean(name, [*own, *renamed, *_OF_WORKERS, *_OTHERS])
            listed = f"; it has: {', '.join(own)}"
            raise ConfigError(f"a loader has no parameter '{name}'{hint or listed}")
        allowed, why = _OTHERS[name]
        plain = getattr(value, "value", value)  # PyG has an enumeration of words
        is_plain = plain is None or isinstance(plain, str | int)
        if not is_plain or plain not in allowed:
            raise ConfigError(
                f"{name}={reprlib.repr(plain)} has no meaning here: {why}; leave it out"
            )
    ignored = sorted(name for name in names if name in _OF_WORKERS and names[name])
    if ignored and ctx.rank == 0:
        _LOGGER.warning(
            "%s ignored: threads make minibatches ahead, CacheConfig(prefetch_depth=...) says how "
            "many",
            ", ".join(f"{name}={reprlib.repr(names[name])}" for name in ignored),
        )
    return [_value(names, name, *about) for name, about in renamed.items()]


def _value(
    names: Mapping[str, object], theirs: str, ours: str, given: object, default: object
) -> object:
    if theirs not in names:
        return given
    if given is not default:
        raise ConfigError(f"{theirs} is PyG's name for {ours}: give one of the two")
    return names[theirs]
