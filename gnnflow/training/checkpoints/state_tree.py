"""States of training as JSON and tensors: nothing else is written, nothing can run code."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from gnnflow.errors import CheckpointError

_TENSOR = "tensor"
_ARRAY = "array"
_FLOAT = "float"
_TUPLE = "tuple"
_PAIRS = "pairs"
_MARK = "$"
_PLAIN_TYPES = (str, bool, int, type(None))


class Stateful(Protocol):
    """What keeps a state that a checkpoint can hold, as torch's optimizers and schedules do."""

    def state_dict(self) -> dict[str, Any]:
        """The state: numbers, words, tensors and arrays in dictionaries, lists and tuples."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> object:
        """Takes on a state."""


def pack(state: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Turns a state into JSON, its tensors and arrays taken out.

    Args:
        state: numbers, words, tensors and arrays in dictionaries, lists and tuples.
        name: first part of the names that the tensors get.
        tensors: where the tensors go, by name.

    Returns:
        What `unpack` makes the state from.

    Raises:
        CheckpointError: if there is something else in the state.
    """
    if isinstance(state, Tensor | np.ndarray):
        tensor = state.detach() if isinstance(state, Tensor) else _as_tensor(state, name)
        while name in tensors:
            name += "'"  # a key with a dot in it reads like two keys
        # A copy: no two tensors of a file may share memory, and training goes on with its own.
        tensors[name] = tensor.to("cpu", copy=True).contiguous()
        return {_MARK: _TENSOR if isinstance(state, Tensor) else _ARRAY, "name": name}
    if isinstance(state, np.generic):
        state = state.item()
    if isinstance(state, float):
        return state if np.isfinite(state) else {_MARK: _FLOAT, "value": str(state)}
    if isinstance(state, _PLAIN_TYPES):
        return state
    if isinstance(state, list | tuple):
        items = [pack(item, f"{name}.{index}", tensors) for index, item in enumerate(state)]
        return items if isinstance(state, list) else {_MARK: _TUPLE, "items": items}
    if isinstance(state, Mapping):
        packed = {key: pack(item, f"{name}.{key}", tensors) for key, item in state.items()}
        if all(isinstance(key, str) for key in packed) and _MARK not in packed:
            return packed
        pairs = [[pack(key, name, tensors), item] for key, item in packed.items()]
        return {_MARK: _PAIRS, "items": pairs}
    raise CheckpointError(
        f"a checkpoint cannot hold '{name}', a {type(state).__name__}; states are numbers, words, "
        "tensors and arrays in dictionaries, lists and tuples"
    )


def unpack(packed: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Makes the state that `pack` was given.

    Raises:
        KeyError: if a tensor is missing.
    """
    if isinstance(packed, list):
        return [unpack(item, tensors) for item in packed]
    if not isinstance(packed, dict):
        return packed
    mark = packed.get(_MARK)
    if mark is None:
        return {key: unpack(item, tensors) for key, item in packed.items()}
    if mark == _TENSOR:
        return tensors[packed["name"]]
    if mark == _ARRAY:
        return tensors[packed["name"]].numpy()
    if mark == _FLOAT:
        return float(packed["value"])
    items = [unpack(item, tensors) for item in packed["items"]]
    return tuple(items) if mark == _TUPLE else {key: value for key, value in items}


def check_kinds(there: Any, here: Mapping[str, Any]) -> None:
    """Refuses a state whose numbers are no numbers: it would be loaded, and fail when it is used.

    Args:
        there: a loaded state.
        here: a state as it is now; what it lacks, or `there` lacks, is not looked at.

    Raises:
        ValueError: if a value cannot take the place of the one here.
    """
    if not isinstance(there, Mapping):
        raise ValueError(f"it is {there!r:.80}, no dictionary")
    for name, value in here.items():
        if name in there and not _same_kind(value, there[name]):
            raise ValueError(f"'{name}' is {there[name]!r:.80} there and {value!r:.80} here")


def _same_kind(here: object, there: object) -> bool:
    """Whether a value may take another's place: a number that of a number, several of several."""
    if isinstance(here, bool) or here is None:
        return there is None or isinstance(there, bool | int | float)
    if isinstance(here, Tensor | int | float):
        if isinstance(there, Tensor):
            return there.numel() == 1
        return isinstance(there, int | float) and not isinstance(there, bool)
    if isinstance(here, list | tuple):
        if not isinstance(there, list | tuple) or len(there) != len(here):
            return False
        return all(_same_kind(*pair) for pair in zip(here, there, strict=True))
    if isinstance(here, Mapping):
        return isinstance(there, Mapping)
    return type(here) is type(there)


def _as_tensor(array: np.ndarray[Any, Any], name: str) -> Tensor:
    try:
        return torch.from_numpy(np.ascontiguousarray(array).reshape(array.shape))
    except TypeError:
        raise CheckpointError(
            f"a checkpoint cannot hold '{name}', an array of {array.dtype}; use a dtype of torch"
        ) from None
