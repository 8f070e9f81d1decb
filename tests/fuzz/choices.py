"""Turns the bytes that a fuzzer makes up into choices, and those into damage to valid data."""

import copy
import io
import json
import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.lib import format as npy_format

ItemT = TypeVar("ItemT")

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, 255, 2**31, -(2**31), 2**63 - 1, 2**63, 10**400),
    *(0.5, -0.5, 1.5, 1e-320, 1e308, math.nan, math.inf, -math.inf),
    *("", "x", "0", "1.5", "nan", "../x", "/etc/passwd", "a\nb", "a\0b", "\ud800", "é" * 40),
    *("x" * 5000, "<f4", "|O", "|V8", "<i8", "<U4", "f8,i4", "None", "__class__"),
    *([], [0], [1, [2, [3]]], {}, {"x": 1}, {"$": "tensor", "name": "x"}, {"$": "pairs"}),
)  # fmt: skip
"""What is put in the place of values in JSON and YAML."""

ODD_NUMBERS = (0, 1, -1, 2, 3, 7, 19, 20, 21, 2**31 - 1, 2**31, 2**62, 2**63 - 1, -(2**63))
"""What is put in the place of numbers in arrays."""

ODD_DTYPES = ("<i8", "<i4", ">i8", "<u8", "|b1", "|u1", "<f2", "<f4", "<f8", "<c16", "|O", "|V8",
              "<U3", "|S3", "<M8[s]", "<m8", "|V0", "<U0", "<g")  # fmt: skip
ODD_SIZES = (0, 1, 2, 3, 4, 8, 19, 20, 21, 60, 2**20, 2**31, 2**40, 2**62, 2**63, 10**30, -1)


class Choices:
    """Reads choices off a string of bytes; where it has ended every choice is the first one."""

    def __init__(self, data: bytes) -> None:
        self._data, self._position = data, 0

    def below(self, limit: int) -> int:
        """A number in `[0, limit)`, from one byte or two."""
        size = 1 if limit <= 256 else 2
        taken = self._take(size)
        return int.from_bytes(taken, "little") % limit if limit > 0 else 0

    def pick(self, items: Sequence[ItemT]) -> ItemT:
        return items[self.below(len(items))]

    def flag(self) -> bool:
        return bool(self.below(2))

    def number(self) -> int:
        """An odd number, or any of 64 bits."""
        if self.flag():
            return int.from_bytes(self._take(8), "little", signed=True)
        return self.pick(ODD_NUMBERS)

    def rest(self) -> bytes:
        return self._take(len(self._data))

    def _take(self, size: int) -> bytes:
        taken = self._data[self._position : self._position + size]
        self._position += size
        return taken


def changed_tree(choices: Choices, tree: Any) -> Any:
    """A JSON value with a few places changed, removed or added."""
    tree = copy.deepcopy(tree)
    for _ in range(1 + choices.below(3)):
        holder: dict[str, Any] = {"": tree}
        inner: Any = holder
        key: Any = ""
        while isinstance(inner[key], dict | list) and inner[key] and choices.below(8):
            inner = inner[key]
            key = choices.pick(list(inner) if isinstance(inner, dict) else range(len(inner)))
        action = choices.below(6)
        if action == 0 and inner is not holder:
            del inner[key]
        elif action == 1 and isinstance(inner, dict) and inner is not holder:
            inner[choices.pick(("../x", "", "x.npy", "more", "/x", "a/b"))] = inner.pop(key)
        elif action == 2:
            inner[key] = choices.number()
        elif action == 3 and isinstance(inner, list):
            inner.append(copy.deepcopy(inner[key]))
        else:
            inner[key] = copy.deepcopy(choices.pick(ODD_VALUES))
        tree = holder[""]
    return tree


def changed_json(choices: Choices, text: str) -> bytes:
    """The text with its values changed, or with bytes changed, or another one."""
    how = choices.below(4)
    if how == 0:
        return choices.rest()
    if how == 1:
        return changed_bytes(choices, text.encode())
    return json.dumps(changed_tree(choices, json.loads(text))).encode("utf-8", "surrogatepass")


def changed_lines(choices: Choices, text: str) -> bytes:
    """Lines of JSON, of which one is changed, or repeated, or is followed by anything."""
    lines = text.encode().splitlines()
    place = choices.below(len(lines))
    if choices.below(4) == 0:
        lines.insert(place, choices.rest())
    else:
        lines[place] = changed_json(choices, lines[place].decode())
    return b"\n".join(lines) + b"\n" * choices.below(2)


def changed_bytes(choices: Choices, content: bytes) -> bytes:
    """Bytes with a few changed, cut off, repeated or put in."""
    data = bytearray(content)
    for _ in range(1 + choices.below(4)):
        place = choices.below(min(len(data), 65_536) or 1)
        place = len(data) - 1 - place if choices.flag() and data else place
        action = choices.below(6)
        if action == 0:
            del data[place:]
        elif action == 1:
            data[place:place] = data[: choices.below(64)]
        elif action == 2:
            del data[place : place + 1 + choices.below(16)]
        elif action == 3:
            # A whole word: lengths and offsets of binary files.
            place -= place % 8
            data[place : place + 8] = (choices.number() % 2**64).to_bytes(8, "little")
        else:
            data[place : place + 1] = bytes([choices.below(256)])
    return bytes(data)


def changed_npy(choices: Choices, content: bytes) -> bytes:
    """A `.npy` file with another header, other values, or other bytes."""
    how = choices.below(5)
    if how == 0:
        return changed_bytes(choices, content)
    array = np.load(io.BytesIO(content), allow_pickle=False)
    if how == 1:
        return npy_bytes(_other_values(choices, array))
    if how == 2:
        other = choices.pick(ODD_DTYPES)
        if other == "|O":
            return npy_bytes(np.array([{}, []], dtype=object))
        with np.errstate(all="ignore"):
            return npy_bytes(np.zeros(array.shape).astype(other))
    header: dict[str, Any] = {
        "descr": array.dtype.str,
        "fortran_order": bool(choices.below(3) == 2),
        "shape": array.shape,
    }
    if choices.flag():
        header["descr"] = choices.pick(ODD_DTYPES)
    if choices.flag():
        header["shape"] = tuple(choices.pick(ODD_SIZES) for _ in range(choices.below(4)))
    if how == 4:
        name = choices.pick(tuple(header))
        header[name] = choices.pick(ODD_VALUES)
        if choices.flag():
            del header[name]
    stream = io.BytesIO()
    text = repr(header).encode("utf-8", "surrogatepass")
    stream.write(npy_format.magic(1 + choices.below(3), 0))
    stream.write((len(text) + 1).to_bytes(2, "little") + text + b"\n")
    stream.write(array.tobytes())
    return stream.getvalue()


def npy_bytes(array: Any) -> bytes:
    """A `.npy` file of an array; one of Python objects is a pickle, which nothing may load."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def _other_values(choices: Choices, array: Any) -> Any:
    changed = np.array(array)
    flat = changed.reshape(-1)
    for _ in range(1 + choices.below(3)):
        if not flat.size:
            break
        place = choices.below(flat.size)
        place = flat.size - 1 - place if choices.flag() else place
        if flat.dtype.kind == "f":
            flat[place] = choices.pick((np.nan, np.inf, -np.inf, 0.5, -1, 60_000, 1e-30))
        else:
            word = (choices.number() % 2**64).to_bytes(8, "little")
            flat[place] = np.frombuffer(word[: flat.itemsize], flat.dtype)[0]
    return changed
