"""Labels: classes, several classes or numbers, and what is no label."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from gnnflow.datasets import ArrayRows, RawGraph
from gnnflow.datasets.array_kinds import labels_of
from gnnflow.datasets.raw_graph_checks import missing_labels
from gnnflow.datasets.readers.segments import Segment, vertex_arrays
from gnnflow.errors import DataError

NAN = np.nan


@pytest.mark.parametrize(
    ("labels", "task", "expected", "num_classes"),
    [
        ([1, 0, -1], "auto", [1, 0, -1], 2),
        ([1.0, NAN, 0], "auto", [1, -1, 0], 2),
        ([1.0, NAN, 0], "classes", [1, -1, 0], 2),
        ([[1], [0], [1]], "classes", [1, 0, 1], 2),
        ([0.5, NAN, -1], "auto", [0.5, NAN, -1], 0),
        ([5, -1, 70_000], "regression", [5, -1, 70_000], 0),
        ([True, False, True], "regression", [1, 0, 1], 0),
        ([[0, 1], [1, 1]], "auto", [[0, 1], [1, 1]], 2),
        ([[0, NAN], [1, 1]], "auto", [[0, NAN], [1, 1]], 2),
        ([[0, NAN], [1, 0.5]], "auto", [[0, NAN], [1, 0.5]], 0),
        ([[0, 7], [1, 1]], "regression", [[0, 7], [1, 1]], 0),
        ([[0, 1], [1, 1]], "regression", [[0, 1], [1, 1]], 0),
    ],
)
def test_what_labels_are_taken_for(labels, task, expected, num_classes):
    found, count = labels_of(np.array(labels), "y.npy", task)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == (np.int64 if num_classes and found.ndim == 1 else np.float32)
    assert count == num_classes


@pytest.mark.parametrize(
    ("labels", "task", "message"),
    [
        ([0, 90, 1], "auto", "vertex 1 has label 90 .*--task regression"),
        ([0, -2, 1], "classes", "vertex 1 has label -2"),
        ([0, 0.5, 1], "classes", "vertex 1 has label 0.5 .* take task regression"),
        ([0, 1, 1], "multilabel", "one number for each vertex.* take task classes"),
        ([[0, 7], [1, 1]], "auto", "hold 7 in row 0, column 1, .*--task regression"),
        ([[0, 7.0], [1, 1]], "auto", "hold 7.0 in row 0, column 1"),
        ([[0, 0.5], [1, 1]], "multilabel", "hold 0.5 in row 0, column 1"),
        ([[0, 1], [1, 1]], "classes", "have 2 columns, .* take task multilabel"),
        (["a", "b"], "regression", "must be numbers"),
    ],
)
def test_labels_that_are_something_else(labels, task, message):
    with pytest.raises(DataError, match=message):
        labels_of(np.array(labels), "y.npy", task)


@given(
    arrays_of.arrays(
        st.sampled_from([np.int8, np.int64, np.float32, np.float64]),
        arrays_of.array_shapes(min_dims=1, max_dims=2, max_side=5),
        elements=st.integers(-100, 100),
    )
)
def test_any_numbers_are_a_regression(labels: np.ndarray):
    found, num_classes = labels_of(labels, "y.npy", "regression")
    assert num_classes == 0
    assert not missing_labels(found, num_classes).any(), "-1 is a value"
    np.testing.assert_array_equal(found.reshape(labels.shape), labels)


def graph(labels: object, num_classes: int, train: list[int]) -> RawGraph:
    y = np.asarray(labels)
    return RawGraph(
        name="small",
        source="by hand",
        num_vertices=len(y),
        edges=np.array([[0, 1], [1, 0]]),
        arrays={"y": ArrayRows(y)},
        splits={"train": np.array(train)},
        num_classes=num_classes,
    )


@pytest.mark.parametrize(
    ("labels", "num_classes"),
    [
        ([0, 1, -1], 2),
        ([0.5, -1.5, NAN], 0),
        ([[0, 1], [1, 1], [NAN, NAN]], 2),
        ([[0.5, 3], [1, 2], [1, NAN]], 0),
    ],
)
def test_a_vertex_without_a_label_is_in_no_split(labels, num_classes):
    graph(labels, num_classes, [0, 1]).validate()
    with pytest.raises(DataError, match="'train' holds vertex 2, which has no label"):
        graph(labels, num_classes, [0, 2]).validate()


def test_minus_one_is_a_number_to_predict():
    graph([5, -1, 3], 0, [0, 1]).validate()
    graph([5.0, -1.0, 3.0], 0, [0, 1]).validate()
    with pytest.raises(DataError, match="'y' holds inf in row 1 .*leave it missing"):
        graph([5.0, np.inf, 3.0], 0, [0]).validate()
    with pytest.raises(DataError, match="make it 0 for columns of numbers"):
        replace(graph([[5.0, 1.0, 3.0]] * 3, 0, [0]), num_classes=2).validate()


@pytest.mark.parametrize(
    ("labels", "task", "missing"),
    [
        ([[0, 1], [1, 1]], "auto", [[NAN, NAN]]),
        ([[0.5, 1], [1, 1]], "auto", [[NAN, NAN]]),
        ([0.5, 1], "auto", [NAN]),
        ([0, -1], "regression", [NAN]),
        ([0, 1], "auto", [-1]),
    ],
)
def test_types_without_labels_have_none(labels, task, missing):
    segments = [
        Segment(where="papers", num_rows=2, arrays={"y": np.array(labels)}),
        Segment(where="authors", num_rows=1, arrays={}),
    ]
    y = vertex_arrays(segments, task=task).arrays["y"].rows(np.arange(3))
    np.testing.assert_array_equal(y, [*labels, *missing])
