"""The networks against PyG's own on the whole graph, on samples and layer by layer."""

import itertools

import pytest
import torch
from model_graphs import Graph
from torch import nn
from torch_geometric.nn import GATConv, GCNConv, GINConv, SAGEConv
from torch_geometric.utils import trim_to_layer

from gnnflow.errors import ConfigError, DataError
from gnnflow.models import MODELS, LayerAdjacency, layer_adjacencies, make_model

DIMS = [9, 16, 5]
NAMES = sorted(MODELS)


class Reference(nn.Module):
    """The same network written with PyG alone, for whole graphs."""

    def __init__(self, model, conv_class):
        super().__init__()
        self.model = model
        self.convs = model.convs
        if conv_class is GCNConv:
            self.convs = nn.ModuleList(GCNConv(a, b) for a, b in itertools.pairwise(DIMS))
            self.convs.load_state_dict(model.convs.state_dict())

    def forward(self, x, edge_index):
        for index, conv in enumerate(self.convs):
            x = conv(x, edge_index)
            if index < len(self.convs) - 1:
                x = nn.functional.elu(x) if isinstance(conv, GATConv) else x.relu()
        return x


@pytest.fixture(params=NAMES)
def model(request):
    torch.manual_seed(0)
    made = make_model(request.param, DIMS)
    for parameter in made.parameters():  # biases start at zero, which would hide their errors
        nn.init.normal_(parameter, std=0.3)
    return made


@pytest.fixture
def graph():
    return Graph.random()


@pytest.fixture
def x(graph):
    return torch.randn(graph.num_vertices, DIMS[0], generator=torch.Generator().manual_seed(1))


def reference(model):
    classes = {"GAT": GATConv, "GCN": GCNConv, "GIN": GINConv, "SAGE": SAGEConv}
    return Reference(model, classes[type(model).__name__])


def in_degree_for(model, graph):
    return graph.in_degree if model.uses_in_degree else None


def assert_close(left, right):
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


def gradients(model, loss):
    return torch.autograd.grad(loss, list(model.parameters()))


def test_whole_graph_equals_pyg(model, graph, x):
    expected = reference(model)(x, graph.edge_index)
    assert_close(model(x, graph.edge_index), expected)
    assert_close(model(x, graph.edge_index, in_degree=in_degree_for(model, graph)), expected)


def test_all_neighbours_of_some_seeds_equal_the_whole_graph(model, graph, x):
    seeds = [3, 7, 40, 59, 0]
    sample = graph.sample(seeds, [-1, -1])
    degree = in_degree_for(model, graph)
    expected = reference(model)(x, graph.edge_index)[seeds]
    out = model(
        x[sample.vertices],
        sample.edge_index,
        sample.num_sampled_nodes,
        sample.num_sampled_edges,
        None if degree is None else degree[sample.vertices],
    )
    assert_close(out, expected)


@pytest.mark.parametrize("fanout", [[-1, -1], [3, 2], [1, 1]])
def test_trimmed_layers_equal_untrimmed_ones(model, graph, x, fanout):
    """Trimming leaves out only what the seeds do not need."""
    seeds = [3, 7, 40, 59, 0]
    sample = graph.sample(seeds, fanout)
    rows = x[sample.vertices]
    degree = in_degree_for(model, graph)
    degree = None if degree is None else degree[sample.vertices]
    whole = model(rows, sample.edge_index, in_degree=degree)
    trimmed = model(
        rows, sample.edge_index, sample.num_sampled_nodes, sample.num_sampled_edges, degree
    )
    assert trimmed.shape == (len(seeds), DIMS[-1])
    assert_close(trimmed, whole[: len(seeds)])


@pytest.mark.parametrize("fanout", [[-1, -1], [3, 2], [1, 1]])
def test_kernels_equal_pyg_with_gradients(model, graph, x, fanout):
    sample = graph.sample([3, 7, 40, 59, 0], fanout)
    rows = x[sample.vertices]
    degree = in_degree_for(model, graph)
    degree = None if degree is None else degree[sample.vertices]
    layers = layer_adjacencies(sample.edge_index, sample.num_sampled_nodes)
    plain = model(
        rows, sample.edge_index, sample.num_sampled_nodes, sample.num_sampled_edges, degree
    )
    fast = model(rows, layers, in_degree=degree)
    assert_close(fast, plain)
    for ours, theirs in zip(
        gradients(model, fast.square().sum()), gradients(model, plain.square().sum()), strict=True
    ):
        assert_close(ours, theirs)


def test_sparse_adjacency(model, graph, x):
    sample = graph.sample(torch.arange(graph.num_vertices), [-1])
    assert_close(model(x, sample.adj_t), reference(model)(x, graph.edge_index))


@pytest.mark.parametrize("fanout", [[-1, -1], [3, 2]])
def test_sparse_adjacency_of_a_sample(model, graph, x, fanout):
    sample = graph.sample([3, 7, 40, 59, 0], fanout)
    per_hop = (sample.num_sampled_nodes, sample.num_sampled_edges)
    rows = x[sample.vertices]
    assert_close(model(rows, sample.adj_t, *per_hop), model(rows, sample.edge_index, *per_hop))
    in_double = model.double()(rows.double(), sample.adj_t, *per_hop)
    assert_close(in_double.float(), model.float()(rows, sample.edge_index, *per_hop))


def test_layers_one_by_one_equal_the_whole_graph(model, graph, x):
    expected = reference(model)(x, graph.edge_index)
    degree = in_degree_for(model, graph)
    for index in range(model.num_layers):
        pieces = []
        for seeds in torch.arange(graph.num_vertices).split(17):
            sample = graph.sample(seeds, [-1])
            rows = x[sample.vertices]
            pieces.append(
                model.layer(
                    index,
                    (rows, rows[: len(seeds)]),
                    sample.edge_index,
                    None if degree is None else degree[sample.vertices],
                )
            )
        x = torch.cat(pieces)
    assert_close(x, expected)


@pytest.mark.parametrize("on_kernels", [False, True])
def test_no_seeds(model, graph, x, on_kernels):
    sample = graph.sample([], [3, 2])
    edges = sample.edge_index
    if on_kernels:
        edges = layer_adjacencies(edges, sample.num_sampled_nodes)
    out = model(
        x[sample.vertices],
        edges,
        sample.num_sampled_nodes,
        sample.num_sampled_edges,
        graph.in_degree[sample.vertices],
    )
    assert out.shape == (0, DIMS[-1])
    assert all(gradient.eq(0).all() for gradient in gradients(model, out.sum() * 0))


def test_seeds_without_neighbours(model, graph, x):
    sample = graph.sample([7], [3, 2])
    assert sample.num_sampled_nodes == [1, 0, 0]
    layers = layer_adjacencies(sample.edge_index, sample.num_sampled_nodes)
    degree = graph.in_degree[sample.vertices]
    out = model(x[sample.vertices], layers, in_degree=degree)
    assert_close(out, reference(model)(x, graph.edge_index)[[7]])


def test_sampled_gcn_has_the_whole_graphs_sum_as_its_mean(graph, x):
    """Averaged over many samples, a layer comes to what it gives on the whole graph."""
    torch.manual_seed(0)
    model = make_model("gcn", [DIMS[0], 4])
    expected = reference_gcn_layer(model, graph, x)
    generator = torch.Generator().manual_seed(3)
    draws = torch.stack(
        [
            model(x, _sample_two_per_destination(graph, generator), in_degree=graph.in_degree)
            for _ in range(500)
        ]
    ).detach()
    error = draws.mean(0) - expected
    deviation = draws.std(0) / len(draws) ** 0.5
    assert (error.abs() < 5 * deviation + 1e-5).all()
    assert (deviation > 0.01).any()


def reference_gcn_layer(model, graph, x):
    conv = GCNConv(DIMS[0], 4)
    conv.load_state_dict(model.convs[0].state_dict())
    return conv(x, graph.edge_index)


def _sample_two_per_destination(graph, generator):
    src, dst = graph.edge_index[:, graph.edge_index[0] != graph.edge_index[1]]
    order = torch.randperm(len(src), generator=generator)
    order = order[torch.argsort(dst[order], stable=True)]
    ordered = dst[order]
    first = torch.searchsorted(ordered, ordered)
    return torch.stack([src, dst])[:, order[torch.arange(len(order)) - first < 2]]


def test_trim_to_layer_of_pyg(graph, x):
    """A user's own network, trimmed by PyG's function, gives the seeds what it gave untrimmed."""
    torch.manual_seed(0)
    convs = nn.ModuleList(SAGEConv(a, b) for a, b in itertools.pairwise(DIMS))
    sample = graph.sample([3, 7, 40], [3, 2])
    whole = trimmed = x[sample.vertices]
    edge_index = sample.edge_index
    for index, conv in enumerate(convs):
        whole = conv(whole, sample.edge_index)
        trimmed, edge_index, _ = trim_to_layer(
            index, sample.num_sampled_nodes, sample.num_sampled_edges, trimmed, edge_index
        )
        trimmed = conv(trimmed, edge_index)
    assert_close(trimmed[:3], whole[:3])


def test_dropout_is_for_training_and_hidden_layers(graph, x):
    torch.manual_seed(0)
    model = make_model("sage", DIMS, dropout=0.9)
    assert not torch.equal(model(x, graph.edge_index), model(x, graph.edge_index))
    model.eval()
    assert torch.equal(model(x, graph.edge_index), model(x, graph.edge_index))
    last = make_model("sage", [9, 5], dropout=0.9)
    assert torch.equal(last(x, graph.edge_index), last(x, graph.edge_index))


def test_gat_heads_divide_the_width():
    assert [conv.heads for conv in make_model("gat", [9, 16, 6, 7, 5]).convs] == [4, 2, 1, 1]
    assert [conv.heads * conv.out_channels for conv in make_model("gat", [9, 6, 5]).convs] == [6, 5]


@pytest.mark.parametrize(
    ("name", "dims", "message"),
    [
        (
            "sgae",
            [3, 2],
            "must be one of gat, gcn, gin, gine, sage, got 'sgae'; did you mean 'sage'",
        ),
        ("transformer", [3, 2], "got 'transformer'$"),
        ("sage", [3], r"positive input and output widths, got \[3\]"),
        ("sage", [3, 0], r"got \[3, 0\]"),
        ("gine", [3, 2], "'gine' uses attributes of edges and the graph has none"),
    ],
)
def test_bad_models(name, dims, message):
    with pytest.raises(ConfigError, match=message):
        make_model(name, dims)


@pytest.mark.parametrize("fanout", [[-1, -1], [3, 2], [1, 1]])
def test_gine_on_samples(graph, x, fanout):
    """Trimmed, untrimmed and on adjacencies, with attributes of one number or several."""
    torch.manual_seed(0)
    sample = graph.sample([3, 7, 40, 59, 0], fanout)
    rows, num_edges = x[sample.vertices], sample.edge_index.shape[1]
    per_hop = (sample.num_sampled_nodes, sample.num_sampled_edges)
    layers = layer_adjacencies(sample.edge_index, sample.num_sampled_nodes)
    for edge_attr in (torch.randn(num_edges), torch.randn(num_edges, 3)):
        model = make_model("gine", DIMS, num_edge_features=edge_attr[:1].numel())
        expected = rows
        for index, conv in enumerate(model.convs):
            expected = conv(expected, sample.edge_index, edge_attr.reshape(num_edges, -1))
            expected = expected if index else expected.relu()
        whole = model(rows, sample.edge_index, edge_attr=edge_attr)
        assert_close(whole, expected)
        trimmed = model(rows, sample.edge_index, *per_hop, edge_attr=edge_attr)
        assert_close(trimmed, whole[:5])
        assert_close(model(rows, layers, edge_attr=edge_attr), whole[:5])
        with pytest.raises(TypeError, match="GINE needs edge_attr"):
            model(rows, sample.edge_index)


def test_unsorted_edges():
    edges = torch.tensor([[0, 1], [1, 0]])
    with pytest.raises(DataError, match="sorted by destination"):
        layer_adjacencies(edges, [1, 1])


def test_more_layers_than_hops(graph):
    sample = graph.sample([1], [2])
    with pytest.raises(DataError, match="3 layers but the minibatch has 1 hops"):
        layer_adjacencies(sample.edge_index, sample.num_sampled_nodes, 3)


def test_transpose_lists_the_edges_by_source(graph):
    sample = graph.sample([3, 7, 40, 59, 0], [3, 2])
    for adjacency in layer_adjacencies(sample.edge_index, sample.num_sampled_nodes):
        indptr, dst = map(torch.from_numpy, adjacency.with_transpose().by_source)
        src = torch.arange(adjacency.num_src).repeat_interleave(indptr.diff())
        turned = sorted(zip(src.tolist(), dst.tolist(), strict=True))
        assert turned == sorted(map(tuple, adjacency.edge_index().T.tolist()))


def test_adjacency_stays_where_it_is():
    adjacency = LayerAdjacency(torch.tensor([0, 1]), torch.tensor([0]), 1)
    assert adjacency.to(torch.device("cpu")) is adjacency
