"""Tables: what is missing stays missing, every row stays at its place, guesses are said aloud."""

import gzip
import logging
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnnflow.datasets import from_files
from gnnflow.datasets.readers.user_files import read_edges
from gnnflow.datasets.split_file import read_splits
from gnnflow.errors import DataError
from gnnflow.files.array_file import open_array
from gnnflow.files.table_file import MISSING, read_csv, read_parquet

Write = Callable[..., Path]


@pytest.fixture
def csv(tmp_path: Path) -> Write:
    """Writes a file of the content, packed if the name says so."""

    def write(content: str, name: str = "table.csv") -> Path:
        file = tmp_path / name
        data = content.encode()
        file.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return file

    return write


def same(column: np.ndarray, expected: list[float | None]) -> bool:
    """Compares numbers; None is one that is missing."""
    assert len(column) == len(expected)
    return all(
        math.isnan(found) if wanted is None else found == wanted
        for found, wanted in zip(column.tolist(), expected, strict=True)
    )


@pytest.mark.parametrize("word", ["", '""', "nan", "NA", "null", "None", "n/a"])
def test_missing_values_are_no_values(csv: Write, word: str):
    table = read_csv(csv(f"t,n,f\ntrue,1,0.5\n{word},{word},{word}\nFalse,3,1.5\n"))
    assert same(table["t"], [1, None, 0])
    assert same(table["n"], [1, None, 3])
    assert same(table["f"], [0.5, None, 1.5])
    assert read_csv(csv("t\ntrue\nfalse\n"))["t"].dtype == np.bool_


def test_missing_values_of_parquet_are_no_values(tmp_path: Path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {
        "t": pyarrow.array([True, None, False]),
        "n": pyarrow.array([1, None, 3]),
        "words": pyarrow.array(["true", None, "false"]),
        "digits": pyarrow.array(["1", None, "3"]).dictionary_encode(),
        "codes": pyarrow.array([1, None, 3]).dictionary_encode(),
        "list": pyarrow.array([[True, None], None, [False, True]]),
        "fixed": pyarrow.array([[1.0], None, [3.0]], pyarrow.list_(pyarrow.float32(), 1)),
        "nothing": pyarrow.nulls(3),
        "decimal": pyarrow.array([1, None, 3], pyarrow.decimal128(5, 2)),
        "plain": pyarrow.array([1, 2, 3]),
    }
    file = tmp_path / "t.parquet"
    parquet.write_table(pyarrow.table(columns), file)
    table = read_parquet(file)
    for name in ("n", "digits", "codes", "decimal"):
        assert same(table[name], [1, None, 3]), name
    for name in ("t", "words"):
        assert same(table[name], [1, None, 0]), name
    assert same(table["list"].ravel(), [1, None, None, None, 0, 1])
    assert same(table["fixed"].ravel(), [1, None, 3])
    assert same(table["nothing"], [None] * 3)
    assert table["plain"].dtype == np.int64


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("0\n\n1\n", [0, None, 1]),
        ("\n0\n1\n", [None, 0, 1]),
        ("0\n1\n\n", [0, 1, None]),
        ("0\n1", [0, 1]),
        ("y\n\n\n1\n", [None, None, 1]),
        ("y\r\n0\r\n\r\n1\r\n", [0, None, 1]),
        ("y\r0\r\r1\r", [0, None, 1]),
        ("0\r1\r", [0, 1]),
        ("# a comment\n\n0\n# another\n \t\n1\n", [None, 0, None, 1]),
        ("\n\ny\n0\n1\n", [0, 1]),
    ],
)
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_a_blank_line_is_a_row(csv: Write, content: str, expected: list[float | None], name: str):
    assert same(next(iter(read_csv(csv(content, name)).values())), expected)


def test_a_blank_line_among_several_columns(csv: Write):
    table = read_csv(csv("a,b\n1,2\n\n5,6\n\n\n"))
    assert same(table["a"], [1, None, 5])
    assert same(table["b"], [2, None, 6])
    assert read_edges(csv("0 1\n\n1 2\n\n")).tolist() == [[0, 1], [1, 2]]


values = st.one_of(
    st.none(), st.integers(-(2**40), 2**40), st.floats(-1e6, 1e6), st.sampled_from([0, 1])
)


@given(
    rows=st.integers(1, 3).flatmap(
        lambda width: st.lists(
            st.lists(values, min_size=width, max_size=width), min_size=1, max_size=12
        )
    ),
    separator=st.sampled_from([",", ";", "\t"]),
    missing=st.sampled_from([word for word in MISSING if word] + ['""', ""]),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    quoted=st.booleans(),
    packed=st.booleans(),
)
@settings(max_examples=120, deadline=None)
def test_every_dialect_gives_the_numbers_back(
    tmp_path_factory: pytest.TempPathFactory, rows, separator, missing, line_end, quoted, packed
):
    def cell(value: float | None) -> str:
        if value is None:
            return missing
        return f'"{value!r}"' if quoted else repr(value)

    header = separator.join(f"c{column}" for column in range(len(rows[0])))
    lines = [header, *(separator.join(map(cell, row)) for row in rows)]
    data = (line_end.join(lines) + line_end).encode("utf-8-sig")
    file = tmp_path_factory.mktemp("tables") / f"t.csv{'.gz' if packed else ''}"
    file.write_bytes(gzip.compress(data) if packed else data)
    table = read_csv(file)
    for column, found in zip(zip(*rows, strict=True), table.values(), strict=True):
        if found.dtype.kind == "i":
            assert found.tolist() == list(column)
        else:
            assert same(found, [None if one is None else float(one) for one in column])


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (",a,b\n0,1,2\n", ["", "a", "b"]),
        ('"a, b";c\n1;2\n', ["a, b", "c"]),
        ("a,b,\n1,2,\n3,4,\n", ["a", "b"]),
        ("a,b\n1,2,\n3,4,\n", ["a", "b"]),
        ("1,2,\n3,4,\n", ["0", "1"]),
        ("id,0,1\n5,6,7\n", ["id", "0", "1"]),
        ("0,1\n2,3\n", ["0", "1"]),
    ],
)
def test_names_of_columns(
    csv: Write, content: str, names: list[str], caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.WARNING):
        assert list(read_csv(csv(content))) == names
    assert not caplog.records


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("0,1,2\n5,6,7\n", ["0", "1", "2"]),
        (",0\n0,7\n1,8\n", ["", "0"]),
        ("1,a\n2,3\n", ["1", "a"]),
    ],
)
def test_a_guess_about_names_is_said(
    csv: Write, content: str, names: list[str], caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.WARNING):
        table = read_csv(csv(content))
    assert list(table) == names
    assert len(table[names[-1]]) == content.count("\n") - 1
    assert "is read as names of columns" in caplog.text


def test_an_edge_that_may_be_names_is_said(csv: Write, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        assert read_edges(csv("0,1\n1,2\n2,0\n")).shape == (2, 3)
        assert not caplog.records
        assert read_edges(csv("0,1\n2,0\n0,1\n")).shape == (2, 3)
    assert "0 -> 1, which comes again" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,a\n1,2\n", "two columns named 'a'"),
        ("a;b\n0,5;1\n", r"column 'a' .* holds '0,5' in row 0 \(decimals are written with a point"),
        ("a,b\n1,2\n,3\n4,dog\n", "column 'b' .* holds 'dog' in row 2"),
        ("a,b\n1,2\n3\n", "cannot read .* as CSV"),
    ],
)
def test_bad_tables_are_named(csv: Write, content: str, message: str):
    with pytest.raises(DataError, match=message) as error:
        open_array(csv(content), "features", ("x",))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kept", [0, 1, 12, 30, 40])
def test_damaged_archives_are_named(tmp_path: Path, kept: int):
    file = tmp_path / "t.csv.gz"
    packed = gzip.compress(b"0,1\n" * 1000)
    file.write_bytes(packed[:kept] if kept else b"garbage")
    with pytest.raises(DataError, match="cannot read .*t.csv.gz as CSV"):
        read_csv(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("s,t\n0,1\n1,\n", "hold 'nan' in row 1.*give every edge both ends"),
        ("s,t\n0,1\n1,bob\n", "hold 'bob' in row 1"),
        (",s,t\n0,0,1\n", "has 3 columns; .*leave out an index"),
        ("s,t\n1.0,9007199254740993\n", "below 9007199254740992: save integers"),
    ],
)
def test_bad_edges_are_named(csv: Write, content: str, message: str):
    with pytest.raises(DataError, match=message):
        read_edges(csv(content))


def test_floats_of_32_bits_hold_no_large_ids(tmp_path: Path):
    np.save(tmp_path / "e.npy", np.array([[0, 1], [2**24, 3]], np.float32))
    with pytest.raises(DataError, match="float32 tells ids apart below 16777216"):
        read_edges(tmp_path / "e.npy")


@pytest.mark.parametrize(
    "content",
    [
        "split\ntrain\n\nval\n\ntest\n",
        "split\n train \nNone\nVal\nunused\nTEST\n\n\n",
        "train,val,test\ntrue,false,\n,,\nfalse,true,false\n\nfalse,false,true\n",
        "train,val,test\n1,0,\n,,\n0,1,0\n\n0,0,1\n",
    ],
)
def test_a_blank_line_of_a_split_is_a_vertex_in_none(csv: Write, content: str):
    splits = read_splits(csv(content), 5)
    assert {name: ids.tolist() for name, ids in splits.items()} == {
        "train": [0],
        "val": [2],
        "test": [4],
    }


def test_blank_lines_of_labels(csv: Write):
    edges, x = csv("0,1\n1,2\n2,0\n", "e.csv"), csv("a,b\n1,2\n3,4\n5,6\n", "x.csv")

    def labels(content: str) -> list[float]:
        graph = from_files(edges, features=x, labels=csv(content, "y.csv"))
        return list(graph.arrays["y"].rows(np.arange(3)))

    assert labels("0\n\n1\n") == [0, -1, 1]
    assert labels("true\n\nfalse\n") == [1, -1, 0]
    assert labels("0\n1\n\n") == [0, 1, -1]
    assert labels("0\n1\n1\n\n\n") == [0, 1, 1], "blank lines at the end that are no vertices"
    with pytest.raises(DataError, match="4 rows for 3 vertices; if its first line is the names"):
        labels("0\n1\n0\n1\n")


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1, 0, 0, 1], "mask 'train' .* has 4 values, but the graph has 5"),
        ([1, 1, 1, 1, 1, 1], "mask 'train' .* has 6 values, but the graph has 5"),
        ([4, 3, 4], "names vertex 4 2 times"),
        ([0, 2, 0, 2, 0], "names vertex 0 3 times"),
    ],
)
def test_ids_of_a_split_are_no_mask(tmp_path: Path, ids: list[int], message: str):
    np.savez(tmp_path / "s.npz", train=np.array(ids))
    with pytest.raises(DataError, match=message):
        read_splits(tmp_path / "s.npz", 5)


def test_a_split_given_twice(tmp_path: Path):
    np.savez(tmp_path / "s.npz", train=[0], val=[1], valid=[2])
    with pytest.raises(DataError, match="gives the split 'val' twice"):
        read_splits(tmp_path / "s.npz", 5)
