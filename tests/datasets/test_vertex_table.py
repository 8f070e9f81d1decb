"""Rows of vertices go by a column of ids where there is one, and never by it unnoticed."""

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnnflow.datasets import from_files
from gnnflow.datasets.readers.user_files import count_vertices
from gnnflow.datasets.split_file import read_splits
from gnnflow.datasets.vertex_table import ID_NAMES, looks_like_ids, open_vertex_arrays
from gnnflow.errors import DataError


def table(file: Path, header: str, rows: list[list[object]]) -> Path:
    lines = [header] if header else []
    file.write_text("\n".join([*lines, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return file


@given(
    order=st.integers(1, 12).flatmap(lambda size: st.permutations(range(size))),
    name=st.sampled_from(ID_NAMES),
    place=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_rows_go_by_their_ids(tmp_path_factory: pytest.TempPathFactory, order, name, place):
    file = tmp_path_factory.mktemp("t") / "x.csv"
    rows = [[vertex, vertex + 0.5] if place else [vertex + 0.5, vertex] for vertex in order]
    names = [name.title(), "a"] if place else ["a", name or "id"]
    arrays = open_vertex_arrays(table(file, ",".join(names), rows), "features", None)
    assert list(arrays) == ["a"]
    assert arrays["a"].tolist() == [vertex + 0.5 for vertex in range(len(order))]


def test_a_table_may_name_some_vertices(tmp_path: Path):
    edges = table(tmp_path / "e.csv", "s,t", [[0, 1], [1, 2], [2, 3], [3, 0]])
    labels = table(tmp_path / "y.csv", "node_id,y", [[2, 1], [0, 0]])
    split = table(tmp_path / "s.csv", "id,split", [[2, "train"], [0, "val"]])
    masks = table(tmp_path / "m.csv", "id,train,val", [[2, 1, 0], [0, 0, 1]])
    for splits in (split, masks):
        graph = from_files(edges, labels=labels, split=splits)
        assert graph.arrays["y"].rows(np.arange(4)).tolist() == [0, -1, 1, -1]
        assert {name: ids.tolist() for name, ids in graph.splits.items()} == {
            "train": [2],
            "val": [0],
        }


def test_ids_like_a_name_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    rows = [[1, 7], [0, 6], [2, 8]]
    with caplog.at_level(logging.WARNING):
        arrays = open_vertex_arrays(table(tmp_path / "x.csv", "paper_id,a", rows), "features", 3)
    assert arrays["a"].tolist() == [6, 7, 8]
    assert "go by its column 'paper_id'" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        arrays = open_vertex_arrays(table(tmp_path / "x.csv", "rank,a", rows), "features", 3)
    assert list(arrays) == ["rank", "a"]
    assert "column 'rank' of" in caplog.text
    assert "holds each of 0 to 2 once" in caplog.text
    caplog.clear()
    np.save(tmp_path / "x.npy", np.array(rows))
    with caplog.at_level(logging.WARNING):
        open_vertex_arrays(tmp_path / "x.npy", "features", 3)
    assert "the first column of" in caplog.text


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("", [[2, 7], [0, 6], [1, 8]], "the first column .* name the columns in a first line"),
        ("id,a", [[10, 1], [20, 1], [30, 1]], "holds 10 in row 0, .* are 0 to 2; number the"),
        ("id,a", [[0, 1], [-1, 1], [2, 1]], "holds -1 in row 1"),
        ("id,a", [[0, 1], [0.5, 1], [2, 1]], "holds 0.5 in row 1"),
        ("id,a", [[0, 1], ["", 1], [2, 1]], "holds nan in row 1"),
        ("id,a", [[0, 1], ["bob", 1], [2, 1]], "holds 0 in row 0"),
        ("id,a", [[0, 1], [1, 1], [1, 1]], "names vertex 1 in the rows 1 and 2"),
        ("id,a", [[0, 1], [2, 1]], "names 2 of the 3 vertices, and not 1"),
    ],
)
def test_bad_ids_are_named(tmp_path: Path, header: str, rows: list[list[object]], message: str):
    with pytest.raises(DataError, match=message) as error:
        open_vertex_arrays(table(tmp_path / "x.csv", header, rows), "features", 3)
    assert "\n" not in str(error.value)


def test_ids_of_a_split_table_are_checked(tmp_path: Path):
    file = table(tmp_path / "s.csv", "id,split", [[0, "train"], [5, "val"]])
    with pytest.raises(DataError, match="'id' of the split file .* holds 5 in row 1"):
        read_splits(file, 5)


@given(st.lists(st.integers(-1, 6), max_size=8), st.sampled_from([np.int8, np.int64, np.float32]))
def test_what_looks_like_ids(numbers: list[int], dtype: type):
    expected = len(numbers) > 2 and sorted(numbers) == list(range(len(numbers)))
    assert looks_like_ids(np.array(numbers, dtype)) == expected


def test_gaps_in_the_edges_are_said_or_refused(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        assert count_vertices(np.array([[0, 1], [1, 2]])) == 3
        assert not caplog.records
        assert count_vertices(np.array([[1, 2, 3], [2, 3, 1]])) == 4
    assert "name 3 vertices, and the largest id is 3: 1 have no edge, 0 the first" in caplog.text
    ids = np.arange(400) * 10
    with pytest.raises(DataError, match=r"400 vertices.*3990.*3591 have no.*--num-vertices 3991"):
        count_vertices(np.stack([ids, ids[::-1]]))


def test_gaps_that_are_meant(tmp_path: Path):
    edges = table(tmp_path / "e.csv", "s,t", [[0, 90]])
    with pytest.raises(DataError, match="--num-vertices 91"):
        from_files(edges)
    assert from_files(edges, num_vertices=100).num_vertices == 100
    x = table(tmp_path / "x.csv", "a,b", [[1, 2]] * 95)
    assert from_files(edges, features=x).num_vertices == 95
