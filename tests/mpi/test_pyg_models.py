"""Every model and normalization layer of PyG trains on all ranks as in one process."""

import copy

import numpy as np
import pytest
import torch
import torch_geometric.nn.models as pyg_models
import torch_geometric.nn.norm as pyg_norms
from small_graphs import make_graph
from torch import nn
from torch_geometric.nn import GCNConv, SAGEConv

import gnnflow
from gnnflow.loader import DistNeighborLoader, SeedSchedule
from gnnflow.training import SyncBatchNorm, sync_buffers, wrap

pytestmark = [
    pytest.mark.mpi(1, 2, 4),
    pytest.mark.filterwarnings("ignore::UserWarning"),  # of torch, about what PyG does
]

IN, WIDTH, OUT = 7, 8, 5


class OfRows(nn.Module):
    """A model that takes features alone."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, edge_index, graph_of):
        return self.net(x)


class OfEdges(OfRows):
    def forward(self, x, edge_index, graph_of):
        return self.net(x, edge_index)


class OfGraphs(OfRows):
    """A model in which vertices of one minibatch see each other without edges."""

    def forward(self, x, edge_index, graph_of):
        several = bool(graph_of.any())
        return self.net(x, edge_index, batch=graph_of if several else None)


class NeedsGraphs(OfRows):
    def forward(self, x, edge_index, graph_of):
        return self.net(x, edge_index, graph_of)


class Signed(OfRows):
    def forward(self, x, edge_index, graph_of):
        return self.net(x, edge_index, edge_index.flip(0))


class Deep(OfRows):
    """Layers of one width between two linear ones."""

    def __init__(self, net):
        super().__init__(net)
        self.first, self.last = nn.Linear(IN, WIDTH), nn.Linear(WIDTH, OUT)

    def forward(self, x, edge_index, graph_of):
        return self.last(self.net(self.first(x), edge_index))


class Meta(Deep):
    def forward(self, x, edge_index, graph_of):
        return self.last(self.net(self.first(x), edge_index)[0])


class Masked(Deep):
    def forward(self, x, edge_index, graph_of):
        return self.last(self.net(self.first(x), (x[:, 0] > 0).long(), x[:, 1] > 0))


class Encoded(OfRows):
    def forward(self, x, edge_index, graph_of):
        return self.net.encode(x, edge_index)


class Infomax(OfRows):
    def forward(self, x, edge_index, graph_of):
        positive, _, summary = self.net(x, edge_index)
        return self.net.discriminate(positive, summary)[:, None]


class NodeModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = GCNConv(WIDTH, WIDTH)

    def forward(self, x, edge_index, edge_attr, u, batch):
        return self.conv(x, edge_index)


class Gaussian(nn.Module):
    def __init__(self):
        super().__init__()
        self.mean, self.log_std = GCNConv(IN, OUT), GCNConv(IN, OUT)

    def forward(self, x, edge_index):
        return self.mean(x, edge_index), self.log_std(x, edge_index)


def infomax():
    return Infomax(
        pyg_models.DeepGraphInfomax(
            OUT,
            GCNConv(IN, OUT),
            lambda z, *args: z.mean(dim=0).sigmoid(),
            lambda x, edge_index: (x.flip(0), edge_index),
        )
    )


def stack(name, **options):
    return lambda: OfEdges(getattr(pyg_models, name)(IN, WIDTH, 2, OUT, **options))


MODELS = {
    "MLP": lambda: OfRows(pyg_models.MLP([IN, WIDTH, OUT])),
    "GCN": stack("GCN", norm="BatchNorm"),
    "GraphSAGE": stack("GraphSAGE", project=True),
    "GIN": stack("GIN"),
    "GAT": lambda: OfGraphs(pyg_models.GAT(IN, WIDTH, 2, OUT, heads=2, norm="LayerNorm")),
    "PNA": stack(
        "PNA",
        aggregators=["mean", "max", "std"],
        scalers=["identity", "amplification"],
        deg=torch.tensor([1, 2, 3]),
    ),
    "EdgeCNN": stack("EdgeCNN"),
    "JumpingKnowledge": stack("GCN", jk="lstm"),
    "GraphUNet": lambda: OfGraphs(pyg_models.GraphUNet(IN, WIDTH, OUT, depth=2)),
    "RECT_L": lambda: OfEdges(pyg_models.RECT_L(IN, WIDTH)),
    "PMLP": lambda: OfEdges(pyg_models.PMLP(IN, WIDTH, OUT, 2)),
    "SGFormer": lambda: NeedsGraphs(
        pyg_models.SGFormer(IN, WIDTH, OUT, trans_dropout=0.0, gnn_dropout=0.0)
    ),
    "Polynormer": lambda: OfGraphs(
        pyg_models.Polynormer(IN, WIDTH, OUT, 2, 1, in_dropout=0.0, dropout=0.0)
    ),
    "SignedGCN": lambda: Signed(pyg_models.SignedGCN(IN, WIDTH, 2)),
    "DeepGCNLayer": lambda: Deep(
        pyg_models.DeepGCNLayer(GCNConv(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU())
    ),
    "GroupAddRev": lambda: Deep(
        pyg_models.GroupAddRev(SAGEConv(WIDTH // 2, WIDTH // 2), num_groups=2)
    ),
    "MetaLayer": lambda: Meta(pyg_models.MetaLayer(None, NodeModel())),
    "MaskLabel": lambda: Masked(pyg_models.MaskLabel(2, WIDTH)),
    "DeepGraphInfomax": infomax,
    "GAE": lambda: OfEdges(pyg_models.GAE(GCNConv(IN, OUT))),
    "VGAE": lambda: Encoded(pyg_models.VGAE(Gaussian())),
}

LEFT_OUT = {
    "a layer or function without parameters": (
        "InnerProductDecoder LabelPropagation CorrectAndSmooth to_captum_model to_captum_input "
        "captum_output_to_dicts"
    ),
    "has a row of weights for each vertex of the graph, and takes all at once": (
        "LINKX LightGCN Node2Vec MetaPath2Vec TGNMemory RENet LPFormer"
    ),
    "one output for each graph, as of a molecule, or for each edge": (
        "SchNet DimeNet DimeNetPlusPlus GNNFF ViSNet AttentiveFP NeuralFingerprint GPSE "
        "GPSENodeEncoder ARLinkPredictor"
    ),
    "several vertex types": "HeteroJumpingKnowledge",
    "two losses, of encoder and discriminator, in turn": "ARGA ARGVA",
}

NORMS = {
    "BatchNorm": lambda: pyg_norms.BatchNorm(WIDTH, allow_single_element=True),
    "HeteroBatchNorm": lambda: pyg_norms.HeteroBatchNorm(WIDTH, 2),
    "InstanceNorm": lambda: pyg_norms.InstanceNorm(WIDTH, affine=True),
    "LayerNorm": lambda: pyg_norms.LayerNorm(WIDTH),
    "HeteroLayerNorm": lambda: pyg_norms.HeteroLayerNorm(WIDTH, 2),
    "GraphNorm": lambda: pyg_norms.GraphNorm(WIDTH),
    "GraphSizeNorm": lambda: pyg_norms.GraphSizeNorm(),
    "PairNorm": lambda: pyg_norms.PairNorm(),
    "MeanSubtractionNorm": lambda: pyg_norms.MeanSubtractionNorm(),
    "MessageNorm": lambda: pyg_norms.MessageNorm(learn_scale=True),
    "DiffGroupNorm": lambda: pyg_norms.DiffGroupNorm(WIDTH, groups=2),
}

# What PyG itself cannot do, on any number of ranks.
FAILS_WITHOUT_VERTICES = {"SGFormer": RuntimeError}
# Batch normalization without running statistics: one row in the whole job is too few.
FAILS_ON_ONE_ROW = {"PMLP"}

# The global half of the one waits until the local one is trained; the other's loss takes a layer
# that `forward` does not.
NEEDS_UNUSED = {"Polynormer", "SignedGCN"}
DRAWS = {"VGAE"}  # random numbers are each rank's own
# These cannot tell minibatches apart that are put together.
OF_THE_WHOLE_MINIBATCH = {"DeepGraphInfomax", "HeteroBatchNorm", "SGFormer"}


class Normalized(nn.Module):
    def __init__(self, name):
        super().__init__()
        self.first, self.last = GCNConv(IN, WIDTH), GCNConv(WIDTH, OUT)
        self.name, self.norm = name, NORMS[name]()

    def forward(self, x, edge_index, graph_of):
        kind = (x[:, 0] > 0).long()
        x = self.first(x, edge_index)
        if self.name.startswith("Hetero"):
            x = self.norm(x, kind)
        elif self.name == "MessageNorm":
            x = self.norm(x, x.sin())
        elif self.name in ("BatchNorm", "DiffGroupNorm"):
            x = self.norm(x)
        else:
            # PyG's InstanceNorm takes one vertex only with `batch`, and none only without.
            x = self.norm(x, graph_of if graph_of.any() or len(x) == 1 else None)
        return self.last(x.relu(), edge_index)


def test_nothing_of_pyg_is_forgotten(ctx):
    known = {*MODELS, *" ".join(LEFT_OUT.values()).split()}
    assert not set(pyg_models.__all__) - known
    assert not set(pyg_norms.__all__) - set(NORMS)


MINIBATCHES = {}


def minibatches(ctx, parts):
    """Those of all ranks, for each step: `(x, edge_index, number of seeds)`, made by the loader.

    All ranks have some vertices in the first step; then rank 0 has one vertex and the others none
    but the last; then all but the last have some.
    """
    if ctx.num_ranks not in MINIBATCHES:
        draw = np.random.default_rng(1)
        raw = make_graph(24, np.stack([draw.integers(0, 24, 40), draw.integers(0, 12, 40)]))
        graph = gnnflow.DistGraph.open(parts(raw, ctx.num_ranks, method="random"), ctx)
        first, last = graph.book.range(ctx.rank)
        own = np.arange(first, last)
        lone = own[np.diff(graph.partition.indptr) == 0][:1]
        is_last = ctx.rank == ctx.num_ranks - 1
        steps = [
            own[: 3 + ctx.rank],
            lone if ctx.rank == 0 else own[:2] if is_last else own[:0],
            own[:0] if is_last and ctx.num_ranks > 1 else own[1:3],
        ]
        if ctx.num_ranks == 1:
            steps.insert(1, own[:0])
        loader = DistNeighborLoader(graph, SeedSchedule.from_batches(steps, ctx), fanout=[-1, -1])
        made = []
        for batch in loader:
            x, edges = (ctx.allgather_array(t.numpy()) for t in (batch.x, batch.edge_index))
            seeds = ctx.allgather_json(batch.batch_size)
            made.append(
                [
                    (torch.from_numpy(a), torch.from_numpy(b), n)
                    for a, b, n in zip(x, edges, seeds, strict=True)
                ]
            )
        sizes = [[len(x) for x, _, _ in step] for step in made]
        assert 1 in sum(sizes, []) and 0 in sum(sizes, []) and all(sizes[0])
        MINIBATCHES[ctx.num_ranks] = made
    return MINIBATCHES[ctx.num_ranks]


def united(step):
    """Minibatches side by side, as one process would take them."""
    xs, edges, seeds = zip(*step, strict=True)
    sizes = [len(x) for x in xs]
    starts = np.cumsum([0, *sizes[:-1]])
    graph_of = torch.arange(len(step)).repeat_interleave(torch.tensor(sizes))
    _, graph_of = graph_of.unique(return_inverse=True)
    edge_index = torch.cat(
        [edge + int(start) for edge, start in zip(edges, starts, strict=True)], dim=1
    )
    chosen = torch.cat(
        [torch.arange(n) + int(start) for n, start in zip(seeds, starts, strict=True)]
    )
    return torch.cat(xs), edge_index, graph_of, chosen


def loss_of(out):
    return (out - 1.0).square().mean()


@pytest.mark.parametrize("name", [*MODELS, *NORMS])
def test_trains_as_in_one_process(ctx, parts, name):
    kinds = pyg_norms if name in NORMS else pyg_models
    if not hasattr(kinds, name):
        return  # this PyG is older
    torch.manual_seed(0)
    reference = Normalized(name) if name in NORMS else MODELS[name]()
    untrained = copy.deepcopy(reference)
    model = SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(reference), ctx)
    wrapped = wrap(model, ctx, find_unused_parameters=name in NEEDS_UNUSED)
    optimizers = [torch.optim.SGD(each.parameters(), lr=0.05) for each in (model, reference)]
    for step in minibatches(ctx, parts):
        num_seeds = sum(n for _, _, n in step)
        sizes = [len(x) for x, _, _ in step]
        if name in FAILS_WITHOUT_VERTICES and 0 in sizes:
            with pytest.raises(FAILS_WITHOUT_VERTICES[name]):
                nothing = torch.zeros(0, dtype=torch.int64)
                untrained(torch.zeros(0, IN), nothing.reshape(2, 0), nothing)
            continue
        if not num_seeds or (sum(sizes) == 1 and name in FAILS_ON_ONE_ROW):
            continue
        x, edge_index, own_seeds = step[ctx.rank]
        ctx.loss_weight = own_seeds / num_seeds
        out = wrapped(x, edge_index, torch.zeros(len(x), dtype=torch.int64))
        loss = loss_of(out[:own_seeds])
        optimizers[0].zero_grad()
        loss.backward()
        optimizers[0].step()
        if sum(sizes) == 1:
            # torch's batch normalization cannot take a single row; gnnflow's can.
            assert np.isfinite(loss.item())
            reference.load_state_dict(model.state_dict())
            continue
        *whole, chosen = united(step)
        expected = loss_of(reference(*whole)[chosen])
        optimizers[1].zero_grad()
        expected.backward()
        optimizers[1].step()
        of_job = float(ctx.allreduce_sum(loss.item() * ctx.loss_weight if own_seeds else 0.0))
        if name not in DRAWS and (name not in OF_THE_WHOLE_MINIBATCH or ctx.num_ranks == 1):
            assert of_job == pytest.approx(expected.item(), rel=1e-3)
    sync_buffers(wrapped, ctx)
    for key, tensor in model.state_dict().items():
        assert torch.isfinite(tensor).all(), key
        gathered = ctx.allgather_array(tensor.detach().numpy())
        assert all(np.array_equal(other, gathered[0]) for other in gathered), key
