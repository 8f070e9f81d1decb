"""What has to be the same on all ranks of a model that they train together."""

import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from gnnflow.comm import Context
from gnnflow.errors import ConfigError

# DistributedDataParallel reads the same attribute.
_IGNORED = "_ddp_params_and_buffers_to_ignore"


def shared_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters by name, without those that DistributedDataParallel ignores."""
    return {name: item for name, item in model.named_parameters() if name not in _ignored(model)}


def shared_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Buffers by name, without those that DistributedDataParallel ignores and sparse ones."""
    return {
        name: buffer
        for name, buffer in model.named_buffers()
        if name not in _ignored(model) and buffer.layout == torch.strided
    }


def check_alike(ctx: Context, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Refuses models that differ between ranks, on all of them; every rank must call this.

    Args:
        ctx: the job.
        model: the model.
        tensors: its parameters or buffers by name.

    Raises:
        ConfigError: if names, shapes, dtypes or what is frozen differ; names the first difference.
    """
    lines = [_described(name, tensor) for name, tensor in tensors.items()]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    if len(set(ctx.allgather_json(digest))) == 1:
        return
    first, *others = ctx.allgather_json(lines)
    rank, other = next(item for item in enumerate(others, 1) if item[1] != first)
    there, here = _first_difference(first, other)
    raise ConfigError(
        f"{type(model).__name__} must be the same on all ranks, but rank 0 has {there} where "
        f"rank {rank} has {here}; take sizes from the whole graph, and name what each rank has "
        f"for itself in the model's {_IGNORED}"
    )


def _ignored(model: nn.Module) -> set[str]:
    return set(getattr(model, _IGNORED, ()))


def _described(name: str, tensor: Tensor) -> str:
    dtype = str(tensor.dtype).removeprefix("torch.")
    frozen = " frozen" if isinstance(tensor, nn.Parameter) and not tensor.requires_grad else ""
    return f"{name}{frozen} {dtype}{list(tensor.shape)}"


def _first_difference(first: Sequence[str], other: Sequence[str]) -> tuple[str, str]:
    for there, here in zip(first, other, strict=False):
        if there != here:
            return there, here
    shorter = min(len(first), len(other))
    there, here = ([*lines, "nothing more"][shorter] for lines in (first, other))
    return there, here
