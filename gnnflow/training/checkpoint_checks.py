"""Whether a checkpoint fits what it is loaded into: its graph, its partition, its weights."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor, nn

from gnnflow.errors import CheckpointError
from gnnflow.partition import Manifest
from gnnflow.training.checkpoint_files import MODEL_FILE, CheckpointFacts, damaged

_LEARNT_FROM = ("x", "y")


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
    expected = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: list(tensor.shape) for name, tensor in weights.items()}
    if found != expected:
        raise CheckpointError(
            f"the checkpoint {path} is of another model: {_first_difference(found, expected)}; "
            "give the options that it was saved with"
        )
    model.load_state_dict(weights)


def _first_difference(found: Mapping[str, list[int]], expected: Mapping[str, list[int]]) -> str:
    for name in dict.fromkeys((*expected, *found)):
        there, here = found.get(name), expected.get(name)
        if there is None or here is None:
            return f"'{name}' is missing {'there' if there is None else 'here'}"
        if there != here:
            return f"'{name}' has shape {there} there and {here} here"
    return f"{MODEL_FILE} differs"
