"""JSON read into frozen dataclasses, strictly, by the type hints of their fields."""

import dataclasses
import functools
import math
import reprlib
from collections.abc import Collection, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from gnnflow.errors import DataError
from gnnflow.files.json_text import INT64_LIMIT

RecordT = TypeVar("RecordT")

Count = Annotated[int, "from 0"]
"""A number that is not negative."""

_WORDS: dict[Any, tuple[str, str, str]] = {
    Count: ("int", "int", "integers from 0 on"),
    int: ("a finite int", "an int", "integers"),
    float: ("a finite float", "a number", "numbers"),
    bool: ("bool", "bool", "bools"),
    str: ("text", "text", "texts"),
    Any: ("anything", "anything", "anything"),
}
"""What a value must be: one alone, one beside others, several."""

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80


class FieldError(DataError):
    """A field holds a value that it cannot have."""

    def __init__(self, record: str, field: str, wanted: str, found: str) -> None:
        """Takes the record, its field, what this must do (`be an int`) and what was found."""
        super().__init__(f"{record}.{field} must {wanted}, got {found}")
        self.field = field
        self.wanted = wanted
        self.found = found


def read_record(
    record_class: type[RecordT],
    values: Any,
    *,
    ignoring: Collection[type] = (),
    complete: bool = False,
) -> RecordT:
    """Makes a record from JSON.

    A bool is no number, a float may be written as an int, and no number is NaN, infinite or beyond
    int64.

    Args:
        record_class: a dataclass of numbers, texts, bools, `Count`, `Literal`, records, tuples,
            lists and mappings of these, any of them `| None`; `Any` takes what is there.
        values: what `parse_json` gave.
        ignoring: records in which unknown fields are left out; in others they are an error.
        complete: whether fields that have a default must be there as well.

    Raises:
        FieldError: if a field has a value of another type.
        DataError: if a field is missing or unknown, or `values` is no JSON object.
    """
    name = record_class.__name__
    if not isinstance(values, Mapping):
        raise DataError(f"{name} must be a JSON object, got a {type(values).__name__}")
    fields = _fields(record_class)
    if record_class not in ignoring and (unknown := sorted(map(str, values.keys() - fields))):
        raise DataError(f"{name} has no field '{unknown[0]:.80}'; written by another version?")
    nested = functools.partial(read_record, ignoring=ignoring, complete=complete)
    arguments: dict[str, Any] = {}
    for key, (hint, may_lack) in fields.items():
        if key in values:
            try:
                arguments[key] = _fitted(hint, values[key], nested)
            except _Misfit as misfit:
                raise FieldError(name, key, *misfit.args) from None
        elif complete or not may_lack:
            raise DataError(f"{name} lacks the field '{key}'; written by another version?")
    return record_class(**arguments)


def _fields(record_class: Any) -> dict[str, tuple[Any, bool]]:
    """The hint of each field by name, and whether it has a default."""
    hints = get_type_hints(record_class, include_extras=True)
    nothing = dataclasses.MISSING
    return {
        field.name: (
            hints[field.name],
            field.default is not nothing or field.default_factory is not nothing,
        )
        for field in dataclasses.fields(record_class)
    }


class _Misfit(Exception):
    """What a value must do, and what was found."""


def _fitted(hint: Any, value: Any, nested: Any) -> Any:
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        return nested(hint, value)
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _fitted_to_one(hint, value, nested)
    if origin in (tuple, list):
        return origin(_fitted_items(hint, value, nested))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _fitted_mapping(inner[1], value, nested)
    if hint == Count and type(value) is int and value < 0:
        raise _Misfit("not be negative", _SHORT.repr(value))
    if not _is_plain(hint, value):
        raise _Misfit(f"be {_words(hint)[0]}", _SHORT.repr(value))
    return float(value) if hint is float else value


def _fitted_to_one(hint: Any, value: Any, nested: Any) -> Any:
    options = [option for option in get_args(hint) if option is not NoneType]
    if value is None and NoneType in get_args(hint):
        return None
    for option in options:
        try:
            return _fitted(option, value, nested)
        except _Misfit as misfit:
            found = misfit.args[1]
    raise _Misfit(f"be {_words(hint)[0]}", found)


def _fitted_items(hint: Any, value: Any, nested: Any) -> list[Any]:
    wanted = f"be {_words(hint)[0]}"
    if not isinstance(value, list | tuple):
        raise _Misfit(wanted, _SHORT.repr(value))
    hints = _item_hints(hint)
    if len(hints) == 1:
        hints *= len(value)
    elif len(hints) != len(value):
        raise _Misfit(wanted, f"{len(value)} of them")
    try:
        return [_fitted(item, part, nested) for item, part in zip(hints, value, strict=True)]
    except _Misfit as misfit:
        raise _Misfit(wanted, f"{misfit.args[1]} in it") from None


def _fitted_mapping(hint: Any, value: Any, nested: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise _Misfit("be an object", _SHORT.repr(value))
    fitted = {}
    for key, item in value.items():
        try:
            fitted[key] = _fitted(hint, item, nested)
        except _Misfit as misfit:
            found = f"{misfit.args[1]} as {_SHORT.repr(key)}"
            raise _Misfit(f"hold {_words(hint)[2]}", found) from None
    return fitted


def _is_plain(hint: Any, value: Any) -> bool:
    if get_origin(hint) is Literal:
        return any(type(value) is type(option) and value == option for option in get_args(hint))
    if hint is bool or hint is str:
        return isinstance(value, hint)
    if isinstance(value, bool) or (isinstance(value, int) and abs(value) >= INT64_LIMIT):
        return False
    if hint is float:
        return isinstance(value, int | float) and math.isfinite(value)
    if hint is int or hint == Count:
        return isinstance(value, int)
    raise TypeError(f"a record of JSON cannot have a field of {hint}")


def _item_hints(hint: Any) -> list[Any]:
    """The hints of a list's or tuple's items; one alone is that of all."""
    return [item for item in get_args(hint) if item is not ...]


def _words(hint: Any) -> tuple[str, str, str]:
    """What a value must be: one alone, one beside others, several."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint in _WORDS:
        return _WORDS[hint]
    if origin in (Union, UnionType):
        parts = ["null" if part is NoneType else _words(part)[1] for part in inner]
        return (" or ".join(parts),) * 3
    if origin is Literal:
        return (" or ".join(map(repr, inner)),) * 3
    if origin in (tuple, list):
        hints = _item_hints(hint)
        several = " and ".join(_words(part)[1] for part in hints)
        one = f"a list of {_words(hints[0])[2] if len(hints) == 1 else several}"
        return one, one, "lists"
    return "an object", "an object", "objects"
