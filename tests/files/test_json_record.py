"""JSON into records: what fits is taken over, what does not is named."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnnflow.errors import DataError
from gnnflow.files.json_record import Count, FieldError, read_record
from gnnflow.files.json_text import INT64_LIMIT, to_json_text


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    x: float
    y: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Thing:
    number: int = 0
    count: Count = 0
    share: float = 0.0
    name: str = ""
    fits: bool = False
    kind: Literal["red", "green", 3] = "red"
    score: float | None = None
    label: int | str = 0
    counts: tuple[Count, ...] = ()
    pair: tuple[int, str] = (0, "")
    rows: list[list[float]] = field(default_factory=list)
    limits: Mapping[str, float] = field(default_factory=dict)
    places: tuple[Place, ...] = ()
    by_name: dict[str, Place] = field(default_factory=dict)
    place: Place | None = None
    anything: Any = None


INTS = st.integers(1 - INT64_LIMIT, INT64_LIMIT - 1)
COUNTS = st.integers(0, INT64_LIMIT - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
PLACES = st.builds(Place, x=FLOATS, y=FLOATS)
PLAIN = st.none() | st.booleans() | INTS | FLOATS | st.text()
THINGS = st.builds(
    Thing,
    number=INTS,
    count=COUNTS,
    share=FLOATS,
    name=st.text(),
    fits=st.booleans(),
    kind=st.sampled_from(["red", "green", 3]),
    score=st.none() | FLOATS,
    label=INTS | st.text(),
    counts=st.lists(COUNTS).map(tuple),
    pair=st.tuples(INTS, st.text()),
    rows=st.lists(st.lists(FLOATS)),
    limits=st.dictionaries(st.text(), FLOATS),
    places=st.lists(PLACES).map(tuple),
    by_name=st.dictionaries(st.text(), PLACES),
    place=st.none() | PLACES,
    anything=PLAIN | st.lists(PLAIN) | st.dictionaries(st.text(), PLAIN),
)
NASTY = st.recursive(
    PLAIN | st.sampled_from([2**63, -(2**63), 10**400, math.nan, math.inf, -math.inf, "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(THINGS)
def test_what_was_written_comes_back(thing):
    assert read_record(Thing, json.loads(to_json_text(asdict(thing))), complete=True) == thing


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(list(Thing.__annotations__)) | st.text(), NASTY))
def test_whatever_is_given_fits_or_is_one_line(values):
    try:
        thing = read_record(Thing, values)
    except DataError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 500
    else:
        assert type(thing.number) is int and type(thing.fits) is bool
        assert type(thing.count) is int and thing.count >= 0
        assert type(thing.share) is float and math.isfinite(thing.share)
        assert all(type(limit) is float for limit in thing.limits.values())
        assert all(isinstance(place, Place) for place in thing.places)


@given(NASTY)
def test_what_is_no_object_is_refused(values):
    if not isinstance(values, dict):
        with pytest.raises(DataError, match="Place must be a JSON object, got a "):
            read_record(Place, values)


def test_a_float_may_be_written_as_an_int():
    place = read_record(Place, {"x": 3})
    assert (place.x, type(place.x)) == (3.0, float)
    assert type(read_record(Thing, {"score": 2}).score) is float
    assert read_record(Thing, {"limits": {"a": 1}}).limits == {"a": 1.0}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("number", True, "Thing.number must be a finite int, got True"),
        ("number", 1.0, "Thing.number must be a finite int, got 1.0"),
        ("number", "1", "Thing.number must be a finite int, got '1'"),
        ("number", 2**63, f"Thing.number must be a finite int, got {2**63}"),
        ("count", -1, "Thing.count must not be negative, got -1"),
        ("count", "x", "Thing.count must be int, got 'x'"),
        ("count", True, "Thing.count must be int, got True"),
        ("share", False, "Thing.share must be a finite float, got False"),
        ("share", math.nan, "Thing.share must be a finite float, got nan"),
        ("share", -math.inf, "Thing.share must be a finite float, got -inf"),
        ("share", 10**400, "Thing.share must be a finite float, got 1000"),
        ("share", None, "Thing.share must be a finite float, got None"),
        ("name", 5, "Thing.name must be text, got 5"),
        ("name", ["a"], "Thing.name must be text, got ['a']"),
        ("fits", 0, "Thing.fits must be bool, got 0"),
        ("kind", "blue", "Thing.kind must be 'red' or 'green' or 3, got 'blue'"),
        ("kind", 3.0, "Thing.kind must be 'red' or 'green' or 3, got 3.0"),
        ("score", "x", "Thing.score must be a number or null, got 'x'"),
        ("score", True, "Thing.score must be a number or null, got True"),
        ("label", 1.5, "Thing.label must be an int or text, got 1.5"),
        ("label", None, "Thing.label must be an int or text, got None"),
        ("counts", "12", "Thing.counts must be a list of integers from 0 on, got '12'"),
        ("counts", [1, -1], "Thing.counts must be a list of integers from 0 on, got -1 in it"),
        ("pair", [1], "Thing.pair must be a list of an int and text, got 1 of them"),
        ("pair", ["a", 1], "Thing.pair must be a list of an int and text, got 'a' in it"),
        ("rows", [[1], 2], "Thing.rows must be a list of lists, got 2 in it"),
        ("limits", [], "Thing.limits must be an object, got []"),
        ("limits", {"a": True}, "Thing.limits must hold numbers, got True as 'a'"),
        ("limits", {"a": math.nan}, "Thing.limits must hold numbers, got nan as 'a'"),
        ("places", {}, "Thing.places must be a list of objects, got {}"),
    ],
)
def test_field_value_and_expectation_are_named(name, value, message):
    with pytest.raises(FieldError) as caught:
        read_record(Thing, {name: value})
    assert str(caught.value).startswith(message)
    assert caught.value.field == name


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"place": {}}, "Place lacks the field 'x'"),
        ({"place": 3}, "Place must be a JSON object, got a int"),
        ({"places": [{"x": 1}, {"x": "1"}]}, "Place.x must be a finite float, got '1'"),
        ({"by_name": {"a": {"x": 1, "z": 2}}}, "Place has no field 'z'"),
    ],
)
def test_records_within_records_name_themselves(values, message):
    with pytest.raises(DataError, match=message):
        read_record(Thing, values)


def test_unknown_and_missing_fields_are_as_the_caller_says():
    values = {"x": 1, "later": [1]}
    with pytest.raises(DataError, match="Place has no field 'later'; written by another version"):
        read_record(Place, values)
    assert read_record(Place, values, ignoring=(Place,)) == Place(x=1.0)
    with pytest.raises(DataError, match="Place has no field 'later'"):
        read_record(Thing, {"place": values, "more": 1}, ignoring=(Thing,))
    with pytest.raises(DataError, match="Place lacks the field 'y'; written by another version"):
        read_record(Place, values, ignoring=(Place,), complete=True)


def test_what_was_found_is_short():
    for value in ("x" * 10**6, list(range(10**5)), {"a": "b" * 10**6}):
        with pytest.raises(FieldError) as caught:
            read_record(Thing, {"number": value})
        assert len(str(caught.value)) < 400


def test_a_hint_without_a_meaning_in_json_is_a_fault_of_the_program():
    @dataclass
    class Odd:
        made: bytes

    with pytest.raises(TypeError, match="cannot have a field of"):
        read_record(Odd, {"made": "x"})
