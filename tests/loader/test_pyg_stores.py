"""PyG's own loaders on a gnnflow graph, and what PyG's tools make of gnnflow's minibatches."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric import typing
from torch_geometric.data import Data
from torch_geometric.loader import LinkLoader, NeighborLoader, NodeLoader
from torch_geometric.nn import SAGEConv
from torch_geometric.utils import trim_to_layer

import gnnflow
from gnnflow.config import PartitionConfig
from gnnflow.datasets import generate
from gnnflow.errors import ConfigError, DataError
from gnnflow.loader import PygFeatureStore, PygGraphStore, PygSampler
from gnnflow.partition import partition_graph

NUM_VERTICES = 300


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("made")
    return generate("sbm:vertices=300,edges=2000,features=8", seed=0, workdir=workdir)


@pytest.fixture(scope="module")
def folder(raw, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts") / "one"
    partition_graph(raw, folder, PartitionConfig(num_parts=1))
    return folder


@pytest.fixture
def graph(folder):
    with gnnflow.init() as ctx:
        yield gnnflow.DistGraph.open(folder, ctx)


def features(raw, ids=None):
    chosen = np.arange(NUM_VERTICES) if ids is None else np.asarray(ids)
    return torch.from_numpy(raw.arrays["x"].rows(chosen))


def test_tensors(raw, graph):
    store = PygFeatureStore(graph)
    names = [attr.attr_name for attr in store.get_all_tensor_attrs()]
    assert names == list(graph.array_names)
    index = torch.tensor([5, 0, 5, 299])
    expected = features(raw, index.numpy())
    assert torch.equal(store.get_tensor(None, "x", index), expected)
    assert torch.equal(store[None, "x", 7], features(raw, [7])[0])
    assert torch.equal(store[None, "x", 3:9], features(raw, range(3, 9)))
    assert torch.equal(store[None, "x", None], features(raw))
    chosen = torch.arange(NUM_VERTICES) % 7 == 2
    assert torch.equal(store[None, "x", chosen], features(raw)[chosen])
    assert store.get_tensor_size(None, "x") == (NUM_VERTICES, 8)
    assert store.get_tensor_size(None, "z") is None
    assert store.get_tensor(None, "z", index) is None
    with pytest.raises(DataError, match=r"index must be global ids in \[0, 300\), got 0 to 300"):
        store.get_tensor(None, "x", torch.tensor([0, 300]))


def test_tensors_of_ones_own(graph):
    store = PygFeatureStore(graph)
    rows = torch.randn(NUM_VERTICES, 2)
    assert store.put_tensor(rows, group_name=None, attr_name="mine", index=None)
    assert torch.equal(store[None, "mine", torch.tensor([4, 2])], rows[[4, 2]])
    assert store.remove_tensor(None, "mine", None)
    assert store.get_tensor_size(None, "mine") is None
    assert not store.remove_tensor(None, "x", None)
    with pytest.raises(DataError, match="put_tensor takes a whole array"):
        store.put_tensor(rows, group_name=None, attr_name="mine", index=torch.arange(2))


def test_edges(raw, graph):
    store = PygGraphStore(graph)
    [attr] = store.get_all_edge_attrs()
    assert attr.size == (NUM_VERTICES, NUM_VERTICES)
    expected = sorted(np.asarray(raw.edges).T.tolist())
    row, col, _ = store.coo()
    assert sorted(torch.stack([row, col]).T.tolist()) == expected
    row, colptr, perm = store.csc()
    assert perm is None and len(colptr) == NUM_VERTICES + 1
    col = torch.repeat_interleave(colptr.diff())
    assert sorted(torch.stack([row, col]).T.tolist()) == expected
    rowptr, col, _ = store.csr()
    assert rowptr[-1] == len(col) == len(expected)
    assert not store.put_edge_index((row, colptr), edge_type=None, layout="csc")
    assert not store.remove_edge_index(edge_type=None, layout="csc")
    with pytest.raises(KeyError):
        store.get_edge_index(edge_type=("a", "to", "b"), layout="csc")


def stores(graph):
    return PygFeatureStore(graph), PygGraphStore(graph)


def test_node_loader_of_pyg(raw, graph):
    seeds = torch.from_numpy(raw.splits["train"])
    loader = NodeLoader(stores(graph), PygSampler(graph, [4, 3]), seeds, batch_size=16)
    edges = set(map(tuple, np.asarray(raw.edges).T.tolist()))
    seen = []
    for batch in loader:
        assert isinstance(batch, Data)
        assert torch.equal(batch.x, features(raw, batch.n_id.numpy()))
        assert torch.equal(batch.n_id[: batch.batch_size], seeds[batch.input_id])
        assert set(map(tuple, batch.n_id[batch.edge_index].T.tolist())) <= edges
        seen += batch.n_id[: batch.batch_size].tolist()
        whole = trimmed = batch.x
        edge_index = batch.edge_index
        torch.manual_seed(0)
        for index, conv in enumerate([SAGEConv(8, 8), SAGEConv(8, 4)]):
            whole = conv(whole, batch.edge_index)
            trimmed, edge_index, _ = trim_to_layer(
                index, batch.num_sampled_nodes, batch.num_sampled_edges, trimmed, edge_index
            )
            trimmed = conv(trimmed, edge_index)
        size = batch.batch_size
        torch.testing.assert_close(trimmed[:size], whole[:size])
    assert sorted(seen) == seeds.tolist()


def test_link_loader_of_pyg(raw, graph):
    edges = torch.from_numpy(np.asarray(raw.edges)[:, :50].astype(np.int64))
    loader = LinkLoader(
        stores(graph), PygSampler(graph, [4]), (None, edges), neg_sampling="binary", batch_size=20
    )
    for batch in loader:
        num = len(batch.input_id)
        assert batch.edge_label.tolist() == [1.0] * num + [0.0] * num
        pairs = batch.n_id[batch.edge_label_index]
        assert torch.equal(pairs[:, :num], edges[:, batch.input_id])
        assert torch.equal(batch.x, features(raw, batch.n_id.numpy()))


@pytest.mark.skipif(
    not (typing.WITH_PYG_LIB or typing.WITH_TORCH_SPARSE),
    reason="PyG's NeighborLoader needs pyg-lib or torch-sparse, which are not installed",
)
def test_neighbor_loader_of_pyg(raw, graph):
    seeds = torch.from_numpy(raw.splits["train"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        loader = NeighborLoader(stores(graph), [4, 3], seeds, batch_size=16)
        for batch in loader:
            assert torch.equal(batch.x, features(raw, batch.n_id.numpy()))


def test_several_parts(raw, tmp_path):
    partition_graph(raw, tmp_path / "two", PartitionConfig(num_parts=2))

    class TwoParts:
        num_parts, path = 2, tmp_path / "two"

    with pytest.raises(ConfigError, match="has 2 parts; partition the graph with --num-parts 1"):
        PygGraphStore(TwoParts())


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.convs = nn.ModuleList([SAGEConv(8, 16), SAGEConv(16, 4)])

    def forward(self, x, edge_index):
        return self.convs[1](self.convs[0](x, edge_index).relu(), edge_index)


def batches(graph):
    return gnnflow.DistNeighborLoader(graph, "train", [4, 3], 16, adj_t=True)


def test_edge_index_and_sparse_layouts(graph):
    """Minibatches come sorted by destination: EdgeIndex and adj_t say so to PyG's layers."""
    from torch_geometric import EdgeIndex

    net = Net()
    for batch in batches(graph):
        expected = net(batch.x, batch.edge_index)
        size = (len(batch.n_id), len(batch.n_id))
        edges = EdgeIndex(batch.edge_index, sparse_size=size, sort_order="col")
        edges.validate()
        torch.testing.assert_close(net(batch.x, edges), expected)
        torch.testing.assert_close(net(batch.x, batch.adj_t), expected)
        if typing.WITH_TORCH_SPARSE:
            adj_t = typing.SparseTensor.from_torch_sparse_csr_tensor(batch.adj_t)
            torch.testing.assert_close(net(batch.x, adj_t), expected)


def test_compiled_models(graph):
    """Minibatches differ in size: one graph with dynamic shapes serves them all."""
    net = Net()
    compiled = torch.compile(net, backend="aot_eager", dynamic=True, fullgraph=True)
    for batch, _ in zip(batches(graph), range(3), strict=False):
        expected, out = net(batch.x, batch.edge_index), compiled(batch.x, batch.edge_index)
        torch.testing.assert_close(out, expected)
        parameters = list(net.parameters())
        gradients = [torch.autograd.grad(y.square().sum(), parameters) for y in (out, expected)]
        for ours, theirs in zip(*gradients, strict=True):
            torch.testing.assert_close(ours, theirs)
