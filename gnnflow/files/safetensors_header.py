"""What a safetensors file says it holds, compared with its size before any of it is read."""

import math
from typing import BinaryIO, NamedTuple

from gnnflow.files.json_text import is_count, parse_json

_MAX_HEADER_BYTES = 100_000_000  # the limit of the format's own library
_LENGTH_BYTES = 8
_METADATA = "__metadata__"


class TensorHeader(NamedTuple):
    """One tensor, as the head of the file describes it."""

    dtype: str
    """The format's name of the type, as `F32`."""
    shape: tuple[int, ...]
    """Its shape."""


def read_safetensors_header(stream: BinaryIO, file_bytes: int) -> dict[str, TensorHeader]:
    """Reads the head of a safetensors file: a few kilobytes, however large it is.

    Args:
        stream: The file, at its first byte.
        file_bytes: Size of the file.

    Returns:
        The tensors by name.

    Raises:
        ValueError: It is no such file, or its tensors do not fill it exactly.
    """
    length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
    data_bytes = file_bytes - _LENGTH_BYTES - length
    if not 2 <= length <= _MAX_HEADER_BYTES or data_bytes < 0:
        raise ValueError(f"it is no safetensors file: its header would take {length} bytes")
    described = parse_json(stream.read(length))
    if not isinstance(described, dict):
        raise ValueError("its header is no JSON object")
    described.pop(_METADATA, None)
    tensors, end = {}, 0
    for name, entry in described.items():
        tensors[name], last = _tensor(name, entry)
        end = max(end, last)
    if end != data_bytes:
        raise ValueError(f"its tensors take {end} bytes, and there are {data_bytes}")
    return tensors


def _tensor(name: str, entry: object) -> tuple[TensorHeader, int]:
    """The tensor, and where its bytes end."""
    fits = isinstance(entry, dict) and isinstance(entry.get("dtype"), str)
    shape = entry.get("shape") if isinstance(entry, dict) else None
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not (
        fits
        and isinstance(shape, list)
        and isinstance(offsets, list)
        and len(offsets) == 2
        and all(map(is_count, (*shape, *offsets)))
    ):
        raise ValueError(f"its header does not describe '{name}'")
    assert isinstance(entry, dict)
    first, last = offsets
    # A bit at least for each number: types of a later release may be narrower than today's.
    if 8 * (last - first) < math.prod(shape):
        raise ValueError(f"'{name}' of shape {shape} cannot lie in {last - first} bytes")
    return TensorHeader(entry["dtype"], tuple(shape)), last
