from dataclasses import replace

import numpy as np
import pytest

from gnnflow.datasets import ArrayRows, RawGraph, RowSource, raw_graph_checks
from gnnflow.errors import DataError


def small_graph() -> RawGraph:
    return RawGraph(
        name="small",
        source="written by hand",
        num_vertices=4,
        edges=np.array([[0, 1, 2, 2], [1, 2, 2, 0]]),
        arrays={
            "x": ArrayRows(np.arange(8, dtype=np.float32).reshape(4, 2)),
            "y": ArrayRows(np.array([0, 1, 1, -1])),
        },
        splits={"train": np.array([0]), "val": np.array([1]), "test": np.array([2])},
        num_classes=2,
    )


def with_array(name: str, values: object) -> RawGraph:
    graph = small_graph()
    return replace(graph, arrays={**graph.arrays, name: ArrayRows(np.asarray(values))})


def with_splits(**splits: list[int]) -> RawGraph:
    return replace(
        small_graph(), splits={name: np.array(ids, np.int64) for name, ids in splits.items()}
    )


def test_a_good_graph_passes():
    graph = small_graph()
    graph.validate()
    assert (graph.num_edges, graph.num_features) == (4, 2)
    replace(graph, arrays={}, splits={}, num_classes=0).validate()
    with_array("y", [[0, 1], [1, 1], [0, 0], [1, 0]]).validate()
    replace(with_array("y", [0.5, 1.5, 2.5, 3.5]), num_classes=0).validate()
    replace(graph, edges=np.zeros((2, 0), np.int32)).validate()
    replace(graph, edge_attr=np.ones((4, 3))).validate()


def test_array_rows():
    rows = ArrayRows(np.arange(6).reshape(3, 2))
    assert isinstance(rows, RowSource)
    assert rows.rows(np.array([2, 0])).tolist() == [[4, 5], [0, 1]]


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (replace(small_graph(), num_vertices=0), "at least 1, got 0"),
        (replace(small_graph(), edges=np.zeros((4, 3), np.int64)), r"\[4, 3\]"),
        (replace(small_graph(), edges=np.zeros((2, 3))), "int32 or int64, got float64"),
        (replace(small_graph(), edges=np.array([[0, 1], [1, 4]])), r"edge 1 \(1 -> 4\).*vertex 4"),
        (replace(small_graph(), edges=np.array([[0, -1], [1, 4]])), "vertex -1.*numbered 0 to 3"),
        (with_array("x", np.ones((3, 2))), r"one row per vertex.*\[3, 2\]"),
        (with_array("x", np.ones(4)), r"\[num_vertices, num_features\], got \[4\]"),
        (with_array("x", [[1.0], [np.nan], [1], [1]]), "nan in row 1, column 0"),
        (with_array("age", [1.0, np.inf, 1, 1]), "'age' holds inf in row 1 and"),
        (with_array("x", np.full((4, 1), "a")), "must hold numbers"),
        (with_array("y", [0, 1, 2, 0]), r"vertex 2 has label 2.*\[0, 2\)"),
        (with_array("y", [0, 1, -2, 0]), "vertex 2 has label -2"),
        (with_array("y", np.zeros((4, 3))), "3 columns, but num_classes is 2"),
        (with_array("y", np.full((4, 2), 7)), "must hold 0 or 1, got 7 in row 0, column 0"),
        (with_array("y", np.zeros((4, 2, 2))), r"got \[4, 2, 2\]"),
        (with_splits(train=[]), "train split is empty"),
        (with_splits(train=[0, 4]), "'train' names vertex 4"),
        (with_splits(train=[1, 0]), "must be sorted"),
        (with_splits(train=[0, 1], test=[1, 2]), "vertex 1 is in the splits 'train' and 'test'"),
        (with_splits(train=[0], val=[3]), "holds vertex 3, which has no label"),
        (replace(small_graph(), splits={"train": np.array([0.0])}), "1-D int64 array"),
        (replace(small_graph(), edge_attr=np.ones(3)), r"one row per edge.*\[3\]"),
        (replace(small_graph(), edge_attr=np.array([1, np.nan, 1, 1])), "'edge_attr' holds nan"),
    ],
)
def test_a_bad_graph_is_named(graph: RawGraph, message: str):
    with pytest.raises(DataError, match=message):
        graph.validate()


def test_checks_work_in_chunks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(raw_graph_checks, "CHUNK_BYTES", 32)
    edges = np.zeros((2, 50), np.int64)
    edges[1, 37] = 4
    with pytest.raises(DataError, match="edge 37"):
        raw_graph_checks.check_edges(edges, 4)
    values = np.zeros((50, 2))
    values[41, 1] = np.nan
    with pytest.raises(DataError, match="row 41, column 1"):
        raw_graph_checks.check_finite("x", values)


def test_computed_rows_are_not_computed_to_be_checked():
    class Computed:
        shape = (4, 2)
        dtype = np.dtype(np.float32)

        def rows(self, ids: np.ndarray) -> np.ndarray:
            raise AssertionError("asked for rows")

    graph = small_graph()
    replace(graph, arrays={**graph.arrays, "x": Computed()}).validate()
