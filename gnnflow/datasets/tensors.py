"""Tensors of torch as arrays of numpy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.errors import DataError, one_line


def to_numpy(value: Any, what: str) -> NDArray[Any]:
    """Returns the numbers of a tensor, without a copy where numpy has its type.

    bfloat16 and narrower floats become float32, sparse tensors dense.

    Args:
        value: A tensor of torch, a `SparseTensor` of torch-sparse, or an array.
        what: What it is, for messages.

    Raises:
        DataError: It is none of these, or does not fit into memory.
    """
    import torch

    if isinstance(value, np.ndarray):
        return value
    if not isinstance(value, torch.Tensor) and not hasattr(value, "to_dense"):
        raise DataError(f"{what} is a {type(value).__name__}; make it a tensor")
    kind = f"{getattr(value, 'dtype', type(value).__name__)} of shape {_shape(value)}"
    try:
        plain = value if isinstance(value, torch.Tensor) else value.to_dense()
        plain = plain.detach().cpu()
        if plain.layout != torch.strided:
            plain = plain.to_dense()
        plain = plain.as_subclass(torch.Tensor)  # of PyG's own kinds
        if plain.is_quantized:
            plain = plain.dequantize()
        plain = plain.resolve_conj().resolve_neg()
        try:
            array: NDArray[Any] = plain.numpy()
        except TypeError:  # a type that numpy lacks
            array = plain.float().numpy()
    except (TypeError, RuntimeError, MemoryError) as error:
        raise DataError(
            f"cannot use {what}, {kind}: {one_line(error)[:200]}; make it a dense tensor of numbers"
        ) from error
    return array


def _shape(value: Any) -> list[int]:
    sizes = value.sizes() if hasattr(value, "sizes") else value.shape
    return [int(size) for size in sizes]
