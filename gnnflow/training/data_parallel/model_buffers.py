"""Buffers of a model: what ranks keep apart while they train, and how it becomes one state."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm

from gnnflow.comm import Context
from gnnflow.training.checkpoints.rank_bytes import broadcast_bytes
from gnnflow.training.data_parallel.alike import check_alike, shared_buffers
from gnnflow.training.data_parallel.wrapped_model import take_share, unwrap


def sync_buffers(model: nn.Module, ctx: Context) -> None:
    """Gives all ranks one state of the model's buffers; every rank must call this.

    While ranks train, each keeps its own, as the running statistics of batch normalization.
    `evaluate`, `evaluate_links`, `infer` and checkpoints call this first.

    - What is the same on all ranks stays as it is.
    - Floating point numbers become the mean over the ranks, each with its share of the seeds that
      were trained on since the last call. A `running_var` also gets the variance of the
      `running_mean` between ranks, so that both describe the rows of all ranks.
    - Whole numbers and truth values become those of rank 0.
    - Buffers named in the model's `_ddp_params_and_buffers_to_ignore` are left alone.

    Args:
        model: the model, wrapped or not.
        ctx: the job.

    Raises:
        ConfigError: if the buffers of ranks differ in name, shape or dtype.
    """
    if ctx.num_ranks == 1:
        return
    inner = unwrap(model)
    buffers = shared_buffers(inner)
    check_alike(ctx, inner, buffers)
    own = [take_share(inner), [_digest(buffer) for buffer in buffers.values()]]
    shares, digests = zip(*ctx.allgather_json(own), strict=True)
    differ = {
        name
        for name, of_ranks in zip(buffers, zip(*digests, strict=True), strict=True)
        if len(set(of_ranks)) > 1
    }
    if not differ:
        return
    # Nothing was trained: as DistributedDataParallel has it, rank 0's.
    weight = shares[ctx.rank] / sum(shares) if sum(shares) else float(ctx.rank == 0)
    with torch.no_grad():
        _average(ctx, weight, inner, buffers, differ)
        _take_from_rank_0(
            ctx, [b for name, b in buffers.items() if name in differ and not _is_averaged(b)]
        )


def _is_averaged(buffer: Tensor) -> bool:
    return buffer.is_floating_point() or buffer.is_complex()


def _average(
    ctx: Context,
    weight: float,
    model: nn.Module,
    buffers: Mapping[str, Tensor],
    differ: set[str],
) -> None:
    """Takes the weighted mean of buffers over ranks, in place."""
    mean_of = _means_of_variances(model, buffers)
    averaged = {
        name: buffer
        for name, buffer in buffers.items()
        if _is_averaged(buffer) and (name in differ or mean_of.get(name) in differ)
    }
    if not averaged:
        return
    values = {name: _as_numbers(buffer) for name, buffer in averaged.items()}
    squares = {name: mean for name, mean in mean_of.items() if name in values and mean in values}
    for name, mean in squares.items():
        values[name] = values[name] + values[mean] ** 2
    flat = np.concatenate(list(values.values()))
    # A rank without seeds may hold what is not a number.
    total = ctx.allreduce_sum(flat * weight if weight else np.zeros_like(flat))
    ends = np.cumsum([array.size for array in values.values()])
    means = dict(zip(values, np.split(total, ends[:-1]), strict=True))
    for name, mean in squares.items():
        means[name] = np.maximum(means[name] - means[mean] ** 2, 0.0)
    for name, buffer in averaged.items():
        numbers = torch.from_numpy(means[name])
        if buffer.is_complex():
            numbers = torch.view_as_complex(numbers.reshape(-1, 2))
        buffer.copy_(numbers.reshape(buffer.shape))


def _means_of_variances(model: nn.Module, buffers: Mapping[str, Tensor]) -> dict[str, str]:
    """Names of running variances of rows, each with the name of its mean."""
    pairs = {}
    for prefix, module in model.named_modules():
        start = f"{prefix}." if prefix else ""
        mean, variance = (buffers.get(f"{start}running_{what}") for what in ("mean", "var"))
        # The variances of instances are not those of all rows.
        if mean is None or variance is None or isinstance(module, _InstanceNorm):
            continue
        if mean.shape == variance.shape and _is_averaged(mean) and _is_averaged(variance):
            pairs[f"{start}running_var"] = f"{start}running_mean"
    return pairs


def _as_numbers(buffer: Tensor) -> NDArray[np.float64]:
    real = torch.view_as_real(buffer.resolve_conj()) if buffer.is_complex() else buffer
    return real.detach().to("cpu", torch.float64).reshape(-1).numpy()


def _as_bytes(buffer: Tensor) -> bytes:
    plain = buffer.detach().resolve_conj().resolve_neg().to("cpu").contiguous()
    return plain.reshape(-1).view(torch.uint8).numpy().tobytes()


def _digest(buffer: Tensor) -> str:
    return hashlib.blake2b(_as_bytes(buffer), digest_size=16).hexdigest()


def _take_from_rank_0(ctx: Context, buffers: Sequence[Tensor]) -> None:
    for buffer in buffers:
        data = broadcast_bytes(ctx, _as_bytes(buffer))
        flat = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        buffer.copy_(flat.view(buffer.dtype).reshape(buffer.shape))
