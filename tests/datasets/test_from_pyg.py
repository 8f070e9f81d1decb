"""Objects of PyG: every array arrives, or its name is said."""

import logging
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch_geometric import EdgeIndex
from torch_geometric.data import Batch, Data, HeteroData, InMemoryDataset, TemporalData
from torch_geometric.transforms import ToSparseTensor

from gnnflow.datasets import RawGraph, from_pyg
from gnnflow.datasets.readers.pyg import to_numpy
from gnnflow.errors import DataError

EDGES = torch.tensor([[0, 1, 2, 3, 0], [1, 2, 0, 3, 2]])
X = torch.arange(8.0).reshape(4, 2)
IDS = np.arange(4)
BETA = pytest.mark.filterwarnings(
    "ignore:Sparse CSR tensor support is in beta state", "ignore:Sparse invariant checks"
)


def make(**changes: object) -> Data:
    """A small object with the changes; None takes something out."""
    values: dict[str, object] = {
        "x": X,
        "y": torch.tensor([1, 0, 2, 1]),
        "edge_index": EDGES,
        "train_mask": torch.tensor([True, False, True, False]),
        "val_mask": torch.tensor([False, True, False, False]),
        "test_mask": torch.tensor([False, False, False, True]),
    } | changes
    return Data(**{key: value for key, value in values.items() if value is not None})


def checked(data: object, **options: object) -> RawGraph:
    graph = from_pyg(data, **options)  # type: ignore[arg-type]
    graph.validate()
    return graph


def pairs(graph: RawGraph) -> list[tuple[int, int]]:
    return sorted(map(tuple, graph.edges.T.tolist()))


def test_a_data_object():
    graph = checked(make(edge_attr=torch.ones(5, 1)), name="mine")
    assert np.array_equal(graph.edges, EDGES)
    assert np.array_equal(graph.arrays["x"].rows(IDS), X)
    assert graph.arrays["y"].rows(IDS).tolist() == [1, 0, 2, 1]
    assert {name: ids.tolist() for name, ids in graph.splits.items()} == {
        "train": [0, 2],
        "val": [1],
        "test": [3],
    }
    assert (graph.name, graph.num_classes) == ("mine", 3)
    assert graph.edge_attr is not None
    assert graph.edge_attr.shape == (5, 1)


def test_every_array_arrives_or_is_named(caplog: pytest.LogCaptureFixture):
    data = make(
        time=torch.tensor([7, 8, 9, 10]),
        pos=torch.rand(4, 3, dtype=torch.float64),
        edge_weight=torch.arange(5, dtype=torch.float64),
        name="a word",
        num_things=5,
    )
    with caplog.at_level(logging.WARNING):
        graph = checked(data)
    assert not caplog.records
    assert graph.arrays["time"].rows(IDS).tolist() == [7, 8, 9, 10]
    assert graph.arrays["pos"].dtype == np.float64
    assert graph.edge_attr is not None
    assert graph.edge_attr.tolist() == [0, 1, 2, 3, 4]
    assert graph.edge_attr.dtype == np.float32, "as from files"
    data.edge_attr = torch.rand(5, 2)
    data.words = list("abcd")
    data.splits = {"train": 1}
    data.of_the_graph = torch.rand(3)
    data.phase = torch.zeros(4, dtype=torch.complex64)
    with caplog.at_level(logging.WARNING):
        graph = checked(data)
    assert graph.edge_attr is not None
    assert graph.edge_attr.shape == (5, 2)
    assert "leaving out the edge arrays edge_weight" in caplog.text
    assert graph.edge_weight is not None
    assert "leaving out 'words', 'splits', 'of_the_graph', 'phase' of the Data" in caplog.text


def test_weights_of_edges_are_there_to_draw_by(caplog: pytest.LogCaptureFixture):
    weights = torch.tensor([0.5, 0, 2, 1, 3], dtype=torch.float64)
    for given in (weights, weights[:, None]):
        graph = checked(make(edge_weight=given))
        assert graph.edge_weight is not None and graph.edge_weight.dtype == np.float32
        assert graph.edge_weight.tolist() == weights.tolist()
    assert checked(make()).edge_weight is None
    assert checked(make(edge_attr=weights)).edge_weight is None
    with caplog.at_level(logging.WARNING):
        graph = checked(make(edge_weight=weights - 1))
    # They may be meant for something else: that is no error.
    assert graph.edge_weight is None and graph.edge_attr is not None
    said = "'edge_weight' is not kept as weights to draw by: edge 0 has weight -0.5"
    assert said in caplog.text
    assert checked(make(edge_weight=torch.rand(5, 2))).edge_weight is None


def test_weights_of_several_types_of_edges():
    data = HeteroData()
    data["a"].x, data["b"].x = torch.rand(3, 2), torch.rand(2, 2)
    data["a", "to", "b"].edge_index = torch.tensor([[0, 1, 2], [0, 1, 1]])
    data["b", "to", "a"].edge_index = torch.tensor([[0, 1], [2, 0]])
    data["a", "to", "b"].edge_weight = torch.tensor([1.0, 2, 3])
    assert checked(data).edge_weight is None, "the others have none"
    data["b", "to", "a"].edge_weight = torch.tensor([4.0, 0])
    graph = checked(data)
    assert graph.edge_weight is not None and graph.edge_weight.tolist() == [1, 2, 3, 4, 0]


def test_as_many_edges_as_vertices():
    data = make(
        edge_index=EDGES[:, :4], edge_time=torch.arange(4), time=torch.arange(4), edge_y=None
    )
    graph = checked(data)
    assert list(graph.arrays) == ["x", "y", "time"]
    assert graph.edge_attr is not None
    assert graph.edge_attr.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "change",
    [
        torch.Tensor.double,
        torch.Tensor.bfloat16,
        lambda x: x.to(torch.float8_e5m2),
        torch.Tensor.to_sparse,
        torch.Tensor.to_sparse_csr,
        torch.Tensor.int,
        lambda x: x.clone().requires_grad_(),
        torch.Tensor.numpy,
        lambda x: x.T.contiguous().T,
    ],
)
@BETA
def test_features_of_any_kind(change: Callable[[torch.Tensor], object]):
    graph = checked(make(x=change(X)))
    assert graph.arrays["x"].dtype == np.float32
    rows = graph.arrays["x"].rows(IDS)
    assert rows.dtype == np.float32
    assert np.array_equal(rows, X)


def test_half_floats_stay():
    assert checked(make(x=X.half())).arrays["x"].dtype == np.float16


@pytest.mark.parametrize(
    "edge_index", [EDGES.int(), EDGES.to(torch.uint8), EdgeIndex(EDGES, sparse_size=(4, 4))]
)
def test_edges_of_any_kind(edge_index: torch.Tensor):
    assert np.array_equal(checked(make(edge_index=edge_index)).edges, EDGES)


@BETA
def test_a_matrix_in_the_place_of_edges():
    data = make()
    expected = pairs(checked(data))
    assert pairs(checked(ToSparseTensor(layout=torch.sparse_csr)(data.clone()))) == expected
    data.edge_weight = torch.arange(1.0, 6.0)
    for layout in (torch.sparse_csr, torch.sparse_coo):
        graph = checked(ToSparseTensor(layout=layout)(data.clone()))
        assert pairs(graph) == expected
        assert graph.edge_attr is not None
        weights = dict(zip(map(tuple, EDGES.T.tolist()), range(1, 6), strict=True))
        found = zip(map(tuple, graph.edges.T.tolist()), graph.edge_attr.tolist(), strict=True)
        assert dict(found) == weights
    assert pairs(checked(Data(x=X, adj=torch.eye(4).to_sparse()))) == [(v, v) for v in range(4)]


def test_without_features(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        graph = checked(make(x=None))
    assert "no features given: using degree" in caplog.text
    assert graph.num_features == 34
    assert checked(make(x=None), features="learned").num_features == 4
    assert checked(make(), features="degree").num_features == 34
    typed = HeteroData()
    typed["a"].num_nodes = typed["b"].num_nodes = 3
    typed["a", "to", "b"].edge_index = torch.tensor([[0, 1], [1, 2]])
    assert checked(typed).num_features == 34


def test_other_features_than_x(caplog: pytest.LogCaptureFixture):
    data = make(pos=torch.arange(4.0)[:, None], label=torch.tensor([0, 0, 0, 1]))
    with caplog.at_level(logging.WARNING):
        graph = checked(data, features="pos")
    assert graph.arrays["x"].rows(IDS).tolist() == [[0], [1], [2], [3]]
    assert list(graph.arrays) == ["x", "y", "label"]
    assert "leaving out the array 'x': another one is kept under the name 'x'" in caplog.text


def test_how_many_vertices_there_are():
    assert checked(Data(edge_index=EDGES, num_nodes=9)).num_vertices == 9
    assert checked(Data(edge_index=EDGES, y=torch.zeros(6, dtype=torch.long))).num_vertices == 6
    assert checked(Data(edge_index=EDGES)).num_vertices == 4
    with pytest.raises(DataError, match="297 have no edge, .* or give num_nodes = 301"):
        from_pyg(Data(edge_index=EDGES * 100))


class Graphs(InMemoryDataset):
    """A dataset of so many graphs."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.data, self.slices = self.collate([make() for _ in range(number)])


def test_a_dataset():
    assert pairs(checked(Graphs(1))) == pairs(checked(make()))
    with pytest.raises(DataError, match=r"Graphs holds 3 graphs, .*from_pyg\(dataset\[0\]\)"):
        from_pyg(Graphs(3))
    assert checked(Batch.from_data_list([make(), make()])).num_vertices == 8


def test_labels_and_splits_of_any_kind():
    y = torch.tensor([[1], [0], [2], [1]])
    assert checked(make(y=y)).arrays["y"].rows(IDS).tolist() == [1, 0, 2, 1]
    numbers = checked(make(y=torch.tensor([3, -1, 500, 7])), task="regression")
    assert numbers.arrays["y"].rows(IDS).tolist() == [3, -1, 500, 7]
    assert numbers.num_classes == 0
    mask = torch.tensor([[1], [0], [1], [0]], dtype=torch.uint8)
    assert checked(make(train_mask=mask)).splits["train"].tolist() == [0, 2]
    split = checked(make(), split="stratified:0.5,0.5,0", seed=1).splits
    assert sorted(np.concatenate(list(split.values()))) == [0, 1, 2, 3]
    folds = checked(make(fold=torch.tensor([0, 1, 2, -1])), split="column:fold")
    assert [ids.tolist() for ids in folds.splits.values()] == [[0], [1], [2]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (make(val_mask=torch.ones(4, 10, dtype=torch.bool)), r"\[4, 10\]: several splits"),
        (make(train_mask=torch.tensor([2, 0, 1, 0])), "'train_mask' .* got 2 in row 0"),
        (make(edge_index=None), "no edge_index, nor an adj_t"),
        (make(edge_index=None, adj=torch.eye(4)), "no edge_index, nor an adj_t"),
        (make(edge_index=EDGES + 0.5), "edges in the Data object hold '0.5'"),
        (make(edge_index=EDGES + 1), r"edge 3 \(4 -> 4\) names vertex 4"),
        (make(y=torch.tensor([1])), "'y' of the Data object must have 4 rows"),
        (make(x=X.to(torch.complex64)), "'x' of the Data object is complex64"),
        (make(x=torch.empty(4, 2, device="meta")), "cannot use 'x' .* of shape"),
        (make(x=[[1.0]] * 4), "'x' of the Data object is a list; make it a tensor"),
        (make(x=torch.full((4, 2), torch.nan)), "holds nan in row 0"),
        ([make()], "takes a Data, a HeteroData or a dataset, got a list"),
        (TemporalData(src=torch.tensor([0])), "got a TemporalData"),
    ],
)
def test_what_is_wrong_is_one_line(data: object, message: str):
    with pytest.raises(DataError, match=message) as error:
        checked(data)
    assert "\n" not in str(error.value)


def test_a_matrix_too_large_to_be_dense():
    huge = torch.sparse_coo_tensor(torch.zeros(2, 1, dtype=torch.long), [1.0], (4, 2**48))
    with pytest.raises(DataError, match=r"cannot use 'x', torch.float32 of shape \[4, "):
        to_numpy(huge, "'x'")
