"""PyG's models as they are: scored, ranked and inferred as on the whole graph."""

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from small_graphs import NUM_CLASSES, power_law, tiny
from torch import nn
from torch_geometric.nn import GCNConv, Sequential
from torch_geometric.nn import models as pyg

import gnnflow
from gnnflow.config import InferConfig
from gnnflow.errors import CheckpointError, ConfigError
from gnnflow.training import TrainingState, evaluate, evaluate_links, save_checkpoint, wrap
from gnnflow.training.checkpoints.checkpoint_files import Position
from gnnflow.training.evaluation.inference import infer, run_inference
from gnnflow.training.evaluation.minibatch_inference import MinibatchInference

pytestmark = pytest.mark.mpi(1, 2)

DIMS = (7, 8, 2, NUM_CLASSES)


@functools.cache
def weighted():
    raw = power_law()
    weight = np.random.default_rng(0).random(raw.num_edges, dtype=np.float32) + 0.1
    return dataclasses.replace(raw, name="weighted", edge_attr=weight)


@pytest.fixture
def graph(ctx, parts):
    return gnnflow.DistGraph.open(parts(weighted(), ctx.num_ranks, method="random"), ctx)


class OwnLayers(nn.Module):
    """Computed layer by layer, with weights that its layers would do without."""

    num_layers = 1

    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(7, NUM_CLASSES)

    def layer(self, index, x, edge_index, edge_weight=None):
        scale = 1.0 if edge_weight is None else edge_weight[:, None]
        sources = self.lin(x[0])[edge_index[0]] * scale
        return sources.new_zeros(len(x[1]), NUM_CLASSES).index_add(0, edge_index[1], sources)

    def forward(self, x, edge_index, edge_weight=None):
        return self.layer(0, (x, x), edge_index, edge_weight)


def sequential():
    words = "x, edge_index, edge_weight"
    convs = [
        (GCNConv(7, 8), f"{words} -> x"),
        nn.ReLU(),
        (GCNConv(8, NUM_CLASSES), f"{words} -> x"),
    ]
    return Sequential(words, convs)


WEIGHT, ATTRIBUTES = "edge_weight", "edge_attr"
MODELS = {
    "sage": (lambda: pyg.GraphSAGE(*DIMS, norm="batch_norm", jk="cat"), None, {}),
    "gcn": (lambda: pyg.GCN(*DIMS), WEIGHT, {}),
    "gcn without": (lambda: pyg.GCN(*DIMS), None, {"edge_argument": None}),
    "gat": (lambda: pyg.GAT(*DIMS), None, {}),
    "gat with": (lambda: pyg.GAT(*DIMS, edge_dim=1), ATTRIBUTES, {}),
    "layers": (OwnLayers, WEIGHT, {}),
    "sequential": (sequential, WEIGHT, {"num_hops": 2}),
}


def build(name):
    torch.manual_seed(2)
    make, argument, options = MODELS[name]
    return make(), argument, options


def on_whole_graph(model, argument):
    raw = weighted()
    x = torch.from_numpy(raw.arrays["x"].rows(np.arange(raw.num_vertices)))
    edges = {} if argument is None else {argument: torch.from_numpy(raw.edge_attr)}
    model.eval()
    with torch.no_grad():
        out = model(x, torch.from_numpy(np.asarray(raw.edges)), **edges)
    model.train()
    return out


@pytest.mark.parametrize("transport", ["alltoall"])
@pytest.mark.parametrize("name", MODELS)
def test_outputs_equal_those_on_the_whole_graph(graph, transport, name, tmp_path):
    model, argument, options = build(name)
    expected = on_whole_graph(model, argument)
    folder = Path(graph.ctx.broadcast_json(str(tmp_path))) / "out"
    infer(model, graph, folder, **options)
    np.testing.assert_allclose(np.load(folder / "logits.npy"), expected, rtol=1e-4, atol=1e-5)
    files = json.loads((folder / "inference.json").read_text())["files"]
    assert ("embeddings.npy" in files) == (name == "layers") and "predictions.npy" in files
    assert model.training


@pytest.mark.parametrize("transport", ["alltoall"])
def test_scores_with_the_weights_of_training(graph, transport, caplog):
    model, argument, options = build("gcn")
    wrapped = wrap(model, graph.ctx)
    y = torch.from_numpy(weighted().arrays["y"].rows(np.arange(600)))
    for chosen, given in ((argument, options), (None, {"edge_argument": None})):
        right = on_whole_graph(model, chosen).argmax(1) == y
        test = right[weighted().splits["test"]].double().mean().item()
        # A tie that rounding decides may fall either way.
        assert evaluate(wrapped, graph, "test", **given)["test"] == pytest.approx(test, abs=0.011)
    z = on_whole_graph(model, argument)
    found = evaluate_links(wrapped, graph, "train", num_negatives=torch.tensor(10), hits_at=1)
    layered = evaluate_links(Stored(z, graph), graph, "train", num_negatives=10, hits_at=[1])
    assert found == pytest.approx(layered, abs=3e-3)


class Stored(nn.Module):
    """Gives what it was given, so that ranks of known embeddings are known."""

    num_layers = 1
    _ddp_params_and_buffers_to_ignore = ("own",)  # each rank has those of its own vertices

    def __init__(self, rows, graph):
        super().__init__()
        own = rows[np.array(graph.partition.original_id)]
        self.register_buffer("own", own)
        self._first = 0

    def layer(self, index, x, edge_index):
        first, self._first = self._first, self._first + len(x[1])
        return self.own[first : self._first]


def test_a_rank_without_vertices_to_compute(ctx, parts, tmp_path):
    graph = gnnflow.DistGraph.open(parts(tiny(), ctx.num_ranks, method="random"), ctx)
    folder = Path(ctx.broadcast_json(str(tmp_path))) / "out"
    infer(pyg.GCN(*DIMS), graph, folder, vertices=[3], edge_argument=None)
    assert np.load(folder / "logits.npy").shape == (1, NUM_CLASSES)


def test_a_checkpoint_of_ones_own_model_is_refused_with_the_remedy(graph, tmp_path):
    folder = Path(graph.ctx.broadcast_json(str(tmp_path))) / "saved"
    state = TrainingState(graph=graph, model=pyg.GCN(*DIMS))
    save_checkpoint(folder, state, Position(epoch=1))
    config = InferConfig(parts=graph.path, checkpoint=folder, out=folder.with_name("out"))
    with pytest.raises(
        CheckpointError, match=r"holds a GCN of a program.*gnnflow\.training\.infer"
    ):
        run_inference(config, graph.ctx)


class TwoResults(nn.Module):
    def forward(self, x, edge_index):
        return x, x


def test_what_cannot_be_done_is_one_line(graph):
    for model, options, message in (
        (nn.Linear(7, 5), {"num_hops": 1}, r"Linear.forward takes \(input\), but is called with"),
        (TwoResults(), {}, "TwoResults has no 'num_layers' and 'layer' to compute it by; give"),
        (TwoResults(), {"num_hops": 1}, "TwoResults must return a tensor with a row for each"),
        (TwoResults(), {"num_hops": 1.5}, "num_hops must be a whole number, got 1.5"),
        (pyg.GraphSAGE(7, 8, 2, 9), {}, "GraphSAGE gives 9 numbers for a vertex and the labels"),
        (pyg.GCN(*DIMS), {"edge_argument": "weight"}, "argument of GCN.forward .x, .*'weight'"),
    ):
        with pytest.raises(ConfigError, match=message):
            evaluate(model, graph, **options)
    assert MinibatchInference(TwoResults(), graph, num_hops=1).device.type == "cpu"
