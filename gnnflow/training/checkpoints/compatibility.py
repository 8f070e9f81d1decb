"""Whether a checkpoint fits what it is loaded into: its graph, its partition, its weights."""

import contextlib
import hashlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor, nn

from gnnflow.errors import CheckpointError
from gnnflow.files.safetensors_header import TensorHeader
from gnnflow.partition import Manifest
from gnnflow.training.checkpoints.checkpoint_files import MODEL_FILE, CheckpointFacts, damaged
from gnnflow.training.checkpoints.state_tree import check_kinds

_LEARNT_FROM = ("x", "y")
_ELEMENTWISE = (
    *(torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam, torch.optim.RAdam),
    *(torch.optim.Adamax, torch.optim.Adagrad, torch.optim.Adadelta, torch.optim.RMSprop),
    *(torch.optim.SGD, torch.optim.ASGD, torch.optim.Rprop),
)
"""Optimizers that keep a number, or a number for each of a parameter's."""


def graph_facts(manifest: Manifest) -> dict[str, Any]:
    """What says that a graph is the same one, however it is cut."""
    return {
        "name": manifest.name,
        "num_vertices": manifest.num_vertices,
        "num_edges": manifest.num_edges,
        "num_classes": manifest.num_classes,
        "arrays": {
            name: [manifest.arrays[name].dtype, list(manifest.arrays[name].row_shape)]
            for name in _LEARNT_FROM
            if name in manifest.arrays
        },
    }


def partition_digest(manifest: Manifest) -> str:
    """What says that a graph is cut in the same way."""
    return hashlib.sha256(manifest.to_json().encode()).hexdigest()


def check_graph(path: Path, facts: CheckpointFacts, manifest: Manifest) -> None:
    """Refuses a checkpoint of another graph.

    Raises:
        CheckpointError: if name, sizes, features or labels differ.
    """
    here = graph_facts(manifest)
    for name, value in facts.graph.items():
        if here.get(name) != value:
            raise CheckpointError(
                f"the checkpoint {path} is of another graph: {name} is {value!r} there and "
                f"{here.get(name)!r} here; give the partition of '{facts.graph.get('name')}' that "
                "it was trained on"
            )


def read_tensors(path: Path, content: bytes) -> dict[str, Tensor]:
    """The tensors of a file of a checkpoint.

    Raises:
        CheckpointError: if it cannot be read.
    """
    try:
        return safetensors.load(content)
    except SafetensorError as error:
        raise damaged(path, f"its tensors cannot be read ({error})") from None


def load_weights(path: Path, content: bytes, model: nn.Module) -> None:
    """Gives a model the weights of a checkpoint.

    Raises:
        CheckpointError: if they are those of another model; nothing is loaded then.
    """
    weights = read_tensors(path, content)
    check_weights(path, weights, model)
    model.load_state_dict(weights)


def check_weights(
    path: Path, weights: Mapping[str, Tensor | TensorHeader], model: nn.Module
) -> None:
    """Refuses weights of another model, by their names and shapes.

    Raises:
        CheckpointError: if a name or a shape differs.
    """
    expected = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: list(tensor.shape) for name, tensor in weights.items()}
    if found != expected:
        raise CheckpointError(
            f"the checkpoint {path} is of another model: {_first_difference(found, expected)}; "
            "give the options that it was saved with"
        )


def check_optimizer(state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> None:
    """Refuses a state of an optimizer that would fail in a step, which torch does not look at.

    Raises:
        ValueError: if a number of a group, or a tensor of a parameter, is not what the optimizer
            would make.
    """
    check_kinds(state, {"state": {}, "param_groups": [{}] * len(optimizer.param_groups)})
    groups = state["param_groups"]
    for here, there in zip(optimizer.param_groups, groups, strict=True):
        check_kinds(there, {name: value for name, value in here.items() if name != "params"})
    numbers = [number for group in groups for number in group["params"]]
    strangers = [kept for kept in state["state"] if kept not in numbers]
    if strangers:
        raise ValueError(f"it has a state of {strangers[0]!r:.80}, which no group has")
    if type(optimizer) not in _ELEMENTWISE:
        return  # what its tensors must look like is its own business
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    names: set[str] | None = None
    for number, parameter in zip(numbers, parameters, strict=True):
        kept = state["state"].get(number)
        if not kept:
            continue
        names = set(kept) if names is None else names
        if set(kept) != names:
            raise ValueError(f"of parameter {number} it keeps {sorted(kept)}, not {sorted(names)}")
        for name, value in kept.items():
            shapes = [()] if name == "step" else [(), tuple(parameter.shape)]
            if isinstance(value, Tensor) and tuple(value.shape) not in shapes:
                raise ValueError(
                    f"'{name}' of parameter {number} has shape {list(value.shape)} there and "
                    f"{list(shapes[-1])} here"
                )
            if not isinstance(value, Tensor | int | float | None):
                raise ValueError(f"'{name}' of parameter {number} is {value!r:.80}")


def check_loaded_options(
    optimizer: torch.optim.Optimizer, before: Sequence[Mapping[str, Any]]
) -> None:
    """Refuses an optimizer that a state has left without an option.

    Which options a state may lack, because they are younger than it, only the optimizer knows:
    what it has not filled in itself after loading would be missing in its next step.

    Args:
        optimizer: with the state loaded.
        before: its groups as they were.

    Raises:
        ValueError: if an option is gone.
    """
    for here, there in zip(before, optimizer.param_groups, strict=True):
        gone = [name for name in here if name not in there]
        if gone:
            raise ValueError(f"its group lacks '{gone[0]}'")


def check_next_rate(schedule: torch.optim.lr_scheduler.LRScheduler) -> None:
    """Lets a loaded schedule compute its next learning rates, which fails here if it must fail.

    Raises:
        ArithmeticError, TypeError: whatever the schedule raises.
    """
    with warnings.catch_warnings(), contextlib.suppress(NotImplementedError):
        warnings.simplefilter("ignore")  # torch warns of whoever asks outside of a step
        schedule.get_lr()


def _first_difference(found: Mapping[str, list[int]], expected: Mapping[str, list[int]]) -> str:
    for name in dict.fromkeys((*expected, *found)):
        there, here = found.get(name), expected.get(name)
        if there is None or here is None:
            return f"'{name}' is missing {'there' if there is None else 'here'}"
        if there != here:
            return f"'{name}' has shape {there} there and {here} here"
    return f"{MODEL_FILE} differs"
