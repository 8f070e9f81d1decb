"""Over how many hops a model is called, and which argument takes what is known of the edges."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.nn import APPNP, GCNConv, RGCNConv, SAGEConv
from torch_geometric.nn import models as pyg

from gnnflow.errors import ConfigError, DataError
from gnnflow.training.model_calls import EdgeArgument, _say_once, device_of, num_hops_of


def graph_with(width=1, dtype=np.float32):
    """A graph whose edges have so many numbers; None for no attributes."""

    def store(name):
        if width is None:
            raise DataError("no array 'edge_attr'")
        return SimpleNamespace(dtype=np.dtype(dtype))

    names = () if width is None else ("edge_attr", "edge_id")
    edges = SimpleNamespace(array_names=names, num_features=width or 0, store=store)
    return SimpleNamespace(edges=edges, ctx=SimpleNamespace(rank=0))


def model_with(forward, **attributes):
    return type("Net", (nn.Module,), {"forward": forward, **attributes})()


def both(self, x, edge_index, edge_attr=None, edge_weight=None): ...
def weight(self, x, edge_index, edge_weight=None): ...
def needs_attributes(self, x, edge_index, edge_attr): ...
def needs_other(self, x, edge_index, w): ...
def of_types(self, x, edge_index, edge_type): ...
def anything(self, x, edge_index, **options): ...
def plain(self, x, edge_index): ...
def whole_batch(self, data): ...


@pytest.mark.parametrize(
    ("forward", "graph", "options", "expected"),
    [
        (plain, graph_with(), {}, None),
        (weight, graph_with(), {}, "edge_weight"),
        (weight, graph_with(None), {}, None),
        (weight, graph_with(3), {}, None),
        (weight, graph_with(), {"wanted": None}, None),
        (both, graph_with(3), {}, "edge_attr"),
        (both, graph_with(), {"wanted": "edge_weight"}, "edge_weight"),
        (needs_attributes, graph_with(3), {}, "edge_attr"),
        (needs_other, graph_with(), {"wanted": "w"}, "w"),
        (of_types, graph_with(dtype=np.int64), {}, "edge_type"),
        (anything, graph_with(), {}, None),
        (anything, graph_with(), {"wanted": "edge_weight"}, "edge_weight"),
    ],
)
def test_the_argument_that_fits(forward, graph, options, expected):
    options = {"wanted": "auto"} | options
    assert EdgeArgument(model_with(forward), "forward", graph, **options).name == expected


@pytest.mark.parametrize(
    ("forward", "graph", "wanted", "message"),
    [
        (both, graph_with(), "auto", "takes edge_attr and edge_weight.*edge_argument='edge_attr'"),
        (needs_attributes, graph_with(None), "auto", "needs 'edge_attr'.*--edge-features FILE"),
        (needs_attributes, graph_with(), None, "or edge_argument='edge_attr' if it takes"),
        (needs_other, graph_with(), "auto", "needs 'w', .*edge_argument='w' if it takes"),
        (needs_other, graph_with(None), "auto", "needs 'w', .*give it a default"),
        (plain, graph_with(), "w", r"argument of Net.forward \(x, edge_index\), got 'w'"),
        (weight, graph_with(3), "edge_weight", "one number per edge, .* this graph have 3"),
        (weight, graph_with(None), "edge_weight", "the edges of this graph have no attributes"),
        (of_types, graph_with(), "auto", "needs 'edge_type'"),
        (of_types, graph_with(), "edge_type", "one whole number per edge.* 1 of type float32"),
        (whole_batch, graph_with(), "auto", r"takes \(data\), but is called with \(x, edge_index"),
    ],
)
def test_what_cannot_be_handed_over_is_refused(forward, graph, wanted, message):
    with pytest.raises(ConfigError, match=message):
        EdgeArgument(model_with(forward), "forward", graph, wanted)


def test_a_model_may_say_it_itself():
    says = {"uses_edge_attr": True}
    assert EdgeArgument(model_with(both, **says), "forward", graph_with(), "auto").name
    with pytest.raises(DataError, match="no array 'edge_attr'"):
        EdgeArgument(model_with(both, **says), "forward", graph_with(None), "auto")
    denies = model_with(both, uses_edge_attr=False)
    assert EdgeArgument(denies, "forward", graph_with(), "auto").name is None


def test_pygs_models_say_which_of_their_arguments_they_use():
    found = {
        model: EdgeArgument(model, "forward", graph_with(), "auto").name
        for model in (
            pyg.GCN(3, 4, 2),
            pyg.GraphSAGE(3, 4, 2),
            pyg.GAT(3, 4, 2),
            pyg.GAT(3, 4, 2, edge_dim=1),
            torch.compile(pyg.GCN(3, 4, 2)),
        )
    }
    assert list(found.values()) == ["edge_weight", None, None, "edge_attr", "edge_weight"]


def test_an_optional_argument_is_used_aloud_and_once(caplog):
    _say_once.cache_clear()
    for _ in range(2):
        EdgeArgument(model_with(weight), "forward", graph_with(), "auto")
        EdgeArgument(model_with(needs_attributes), "forward", graph_with(), "auto")
    assert [record.getMessage() for record in caplog.records] == [
        "Net.forward gets the attributes of the edges as edge_weight; edge_argument=None leaves "
        "them out"
    ]


def test_attributes_in_the_form_that_an_argument_takes():
    rows, cpu = torch.tensor([[1], [2]]), torch.device("cpu")
    for forward, wanted, expected in (
        (weight, "edge_weight", torch.tensor([1.0, 2.0])),
        (of_types, "edge_type", torch.tensor([1, 2])),
        (needs_attributes, "edge_attr", torch.tensor([[1.0], [2.0]])),
    ):
        graph = graph_with(dtype=np.int64)
        taken = EdgeArgument(model_with(forward), "forward", graph, wanted).take(rows, cpu)
        assert taken.dtype == expected.dtype and torch.equal(taken, expected)


def test_hops():
    assert num_hops_of(pyg.GraphSAGE(3, 4, 3), None) == 3
    # Degrees of the outermost sources are seen from a further hop.
    assert num_hops_of(pyg.GCN(3, 4, 3), None) == num_hops_of(pyg.GCN(3, 4, 3), 3) == 4
    assert num_hops_of(nn.Sequential(GCNConv(3, 4, normalize=False)), 1) == 1
    assert num_hops_of(nn.Sequential(SAGEConv(3, 4), RGCNConv(3, 4, 2)), 2) == 2
    for model in (nn.Linear(3, 4), pyg.GCN(3, 4, 2)):
        with pytest.raises(ConfigError, match="num_hops must be at least 1, got 0"):
            num_hops_of(model, 0)
    far = nn.Sequential(APPNP(K=10, alpha=0.1))
    more = nn.Sequential(SAGEConv(3, 4), SAGEConv(4, 4))
    far.num_layers = more.num_layers = 1
    for model in (far, more, nn.Linear(3, 4)):
        with pytest.raises(ConfigError, match="give num_hops=, the number of hops it looks at"):
            num_hops_of(model, None)


def test_where_a_model_is():
    assert device_of(nn.Identity()) == torch.device("cpu")
    assert device_of(nn.Linear(1, 1, device="meta")).type == "meta"
