"""A model that uses attributes of edges: on several ranks as in one process as in PyG."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_graphs import NUM_CLASSES, power_law
from torch import nn
from torch.nn import functional
from torch_geometric.nn import GINEConv

import gnnflow
from gnnflow.loader import DistNeighborLoader, SeedSchedule
from gnnflow.models import make_model
from gnnflow.training import LayerwiseInference, evaluate, wrap
from gnnflow.training.records.step_metrics import EpochRecorder
from gnnflow.training.tasks import task_of
from gnnflow.training.trainer import Trainer

pytestmark = pytest.mark.mpi(1, 2, 4)

NUM_FEATURES, NUM_EDGE_FEATURES = 7, 3


def raw_graph():
    """Multi-edges and self loops with attributes of their own."""
    raw = power_law()
    draw = np.random.default_rng(5)
    attributes = draw.standard_normal((raw.num_edges, NUM_EDGE_FEATURES), dtype=np.float32)
    return replace(raw, name="edges", edge_attr=attributes)


def open_graph(ctx, parts, **options):
    return gnnflow.DistGraph.open(parts(raw_graph(), ctx.num_ranks, method="random"), ctx)


def build(dims=(NUM_FEATURES, 16, NUM_CLASSES)):
    torch.manual_seed(0)
    model = make_model("gine", dims, num_edge_features=NUM_EDGE_FEATURES)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model


def on_whole_graph(model, x):
    raw = raw_graph()
    edge_index, edge_attr = torch.from_numpy(raw.edges), torch.from_numpy(raw.edge_attr)
    for index, conv in enumerate(model.convs):
        x = conv(x, edge_index, edge_attr)
        x = x.relu() if index < len(model.convs) - 1 else x
    return x


def all_rows(name):
    raw = raw_graph()
    return torch.from_numpy(raw.arrays[name].rows(np.arange(raw.num_vertices)))


@pytest.mark.parametrize("transport", ["auto", "alltoall"])
def test_same_loss_per_step_as_the_whole_graph(ctx, parts, transport):
    raw, num_steps = raw_graph(), 20
    draw = np.random.default_rng(0)
    batches = [draw.choice(raw.splits["train"], 24, replace=False) for _ in range(num_steps)]
    graph = open_graph(ctx, parts)
    own = [
        graph.partition.first_id + np.flatnonzero(np.isin(graph.partition.original_id, ids))
        for ids in batches
    ]
    wrapped = wrap(build(), ctx)
    loader = DistNeighborLoader(
        graph, SeedSchedule.from_batches(own, ctx), fanout=[-1, -1], edge_attr=True
    )
    recorder = EpochRecorder(ctx)
    optimizer = torch.optim.Adam(wrapped.parameters(), lr=0.01)
    trainer = Trainer(wrapped, loader, optimizer, task_of(graph.manifest), recorder)
    trainer.train_epoch(0)

    whole, x, y = build(), all_rows("x"), all_rows("y")
    optimizer = torch.optim.Adam(whole.parameters(), lr=0.01)
    expected = []
    for ids in batches:
        loss = functional.cross_entropy(on_whole_graph(whole, x)[ids], y[ids])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    np.testing.assert_allclose(recorder.job_losses, expected, atol=1e-4, rtol=0)


class Plain(nn.Module):
    """A user's model that uses attributes of edges."""

    uses_edge_attr = True

    def __init__(self):
        super().__init__()
        self.convs = build().convs

    def forward(self, x, edge_index, edge_attr):
        x = self.convs[0](x, edge_index, edge_attr).relu()
        return self.convs[1](x, edge_index, edge_attr)


class Layered(Plain):
    """The same with a way to compute one layer."""

    num_layers = 2

    def layer(self, index, x, edge_index, edge_attr):
        assert isinstance(self.convs[index], GINEConv)
        out = self.convs[index](x, edge_index, edge_attr)
        return out.relu() if index == 0 else out


@pytest.mark.parametrize("transport", ["auto", "alltoall"])
def test_evaluation_equals_the_whole_graph(ctx, parts, transport):
    graph, model = open_graph(ctx, parts), build()
    with torch.no_grad():
        expected = on_whole_graph(model, all_rows("x"))
    everyone = np.arange(graph.partition.num_vertices)
    for a_model in (model, Layered()):
        for chunk_bytes in (1, 20_000, 1 << 30):
            inference = LayerwiseInference(a_model, graph, chunk_bytes=chunk_bytes)
            got = torch.cat([out for _, out in inference.outputs(everyone)])
            own = expected[np.array(graph.partition.original_id)]
            torch.testing.assert_close(got, own, rtol=1e-4, atol=1e-4)
    right = expected.argmax(dim=1) == all_rows("y")
    scores = {name: right[ids].float().mean().item() for name, ids in raw_graph().splits.items()}
    assert evaluate(model, graph) == pytest.approx(scores, abs=0.011)
    assert evaluate(Plain(), graph, num_hops=2) == pytest.approx(scores, abs=0.011)
