"""Training on several ranks is training in one process."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from sklearn import metrics
from sklearn.utils.class_weight import compute_class_weight
from small_graphs import NUM_CLASSES, make_graph, power_law, tiny
from torch import nn
from torch.nn import functional
from torch_geometric.nn import GCNConv, SAGEConv

import gnnflow
from gnnflow.config import OptimizationConfig
from gnnflow.datasets.row_source import ArrayRows
from gnnflow.errors import ConfigError
from gnnflow.in_degrees import IN_DEGREE, ensure_in_degree
from gnnflow.loader import DistNeighborLoader, SeedSchedule
from gnnflow.models import make_model
from gnnflow.training import evaluate, unwrap, wrap
from gnnflow.training.evaluation.vertex_evaluation import evaluate_scores
from gnnflow.training.loss_weighting import LossShares, class_weights
from gnnflow.training.optimization import LearningRate, make_optimizer
from gnnflow.training.records.step_metrics import EpochRecorder
from gnnflow.training.tasks import task_of
from gnnflow.training.trainer import Trainer, attach_layers

pytestmark = pytest.mark.mpi(1, 2, 4)

NUM_FEATURES = 7


def open_graph(ctx, parts, raw=None, method="random"):
    raw = power_law() if raw is None else raw
    return gnnflow.DistGraph.open(parts(raw, ctx.num_ranks, method=method), ctx)


def own_batches(graph, batches):
    """The part of this rank of batches in original ids, as global ids."""
    original = graph.partition.original_id
    return [graph.partition.first_id + np.flatnonzero(np.isin(original, ids)) for ids in batches]


def job_batches(raw, size, num_steps, seed=0):
    """Batches over train seeds in original ids; some ranks have few or none of a batch."""
    draw = np.random.default_rng(seed)
    return [draw.choice(raw.splits["train"], size, replace=False) for _ in range(num_steps)]


class WholeGraphModel(nn.Module):
    """The same network written with PyG alone, for the whole graph."""

    def __init__(self, model):
        super().__init__()
        self.convs = model.convs
        if isinstance(model.convs[0], GCNConv):
            self.convs = nn.ModuleList(
                GCNConv(conv.in_channels, conv.out_channels) for conv in model.convs
            )
            self.convs.load_state_dict(model.convs.state_dict())
        self.activate = model.activate

    def forward(self, x, edge_index):
        for index, conv in enumerate(self.convs):
            x = conv(x, edge_index)
            x = self.activate(x) if index < len(self.convs) - 1 else x
        return x


def whole_graph(raw):
    x = torch.from_numpy(raw.arrays["x"].rows(np.arange(raw.num_vertices)))
    y = torch.from_numpy(raw.arrays["y"].rows(np.arange(raw.num_vertices)))
    return x, y, torch.from_numpy(np.asarray(raw.edges))


def build(name, dims=(NUM_FEATURES, 16, NUM_CLASSES), seed=0):
    torch.manual_seed(seed)
    model = make_model(name, dims)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model


@pytest.mark.parametrize("on_kernels", [False, True])
@pytest.mark.parametrize("name", ["sage", "gcn", "gin"])
def test_same_loss_per_step_as_the_whole_graph(ctx, parts, name, on_kernels):
    """With all neighbours and the same job-wide batches, 50 steps give the same losses."""
    raw, num_steps = power_law(), 50
    batches = job_batches(raw, size=24, num_steps=num_steps)
    graph = open_graph(ctx, parts)
    model = build(name)
    whole = WholeGraphModel(build(name))
    wrapped = wrap(model, ctx)
    if model.uses_in_degree:
        ensure_in_degree(graph)
    loader = DistNeighborLoader(
        graph,
        SeedSchedule.from_batches(own_batches(graph, batches), ctx),
        fanout=[-1, -1],
        arrays=("x", IN_DEGREE) if model.uses_in_degree else ("x",),
        transform=attach_layers if on_kernels else None,
    )
    recorder = EpochRecorder(ctx)
    trainer = Trainer(
        wrapped,
        loader,
        torch.optim.Adam(wrapped.parameters(), lr=0.01),
        task_of(graph.manifest),
        recorder,
    )
    epoch = trainer.train_epoch(0)
    losses = recorder.job_losses

    x, y, edge_index = whole_graph(raw)
    optimizer = torch.optim.Adam(whole.parameters(), lr=0.01)
    expected = []
    for ids in batches:
        loss = functional.cross_entropy(whole(x, edge_index)[ids], y[ids])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    assert len(losses) == num_steps
    np.testing.assert_allclose(losses, expected, atol=1e-4, rtol=0)
    assert epoch.loss == pytest.approx(np.mean(expected), abs=1e-4)


def test_same_losses_with_class_weights_clipping_and_a_schedule(ctx, parts):
    """Weights change what a mean divides by; a batch of some ranks may weigh nothing."""
    raw, num_steps = power_law(), 12
    batches = job_batches(raw, size=10, num_steps=num_steps)
    weights = np.array([0.0, 0.5, 3.0, 1.0, 10.0])
    config = OptimizationConfig(
        optimizer="sgd", lr=0.3, schedule="cosine", warmup_steps=4, clip_norm=0.5, epochs=1
    )
    graph = open_graph(ctx, parts)
    wrapped, whole = wrap(build("sage"), ctx), WholeGraphModel(build("sage"))
    schedule = SeedSchedule.from_batches(own_batches(graph, batches), ctx)
    loader = DistNeighborLoader(graph, schedule, fanout=[-1, -1])
    task = task_of(graph.manifest, weights=weights)
    seed_labels = graph.partition.arrays["y"][schedule.seeds - graph.partition.first_id]
    optimizer = make_optimizer(config, wrapped.parameters())
    recorder = EpochRecorder(ctx)
    trainer = Trainer(
        wrapped,
        loader,
        optimizer,
        task,
        recorder,
        learning_rate=LearningRate(optimizer, config, num_steps),
        clip_norm=config.clip_norm,
        shares=LossShares(ctx, schedule, task.seed_weights(seed_labels)),
    )
    trainer.train_epoch(0)

    x, y, edge_index = whole_graph(raw)
    optimizer = torch.optim.SGD(whole.parameters(), lr=0.3, momentum=0.9)
    expected, norms = [], []
    for step, ids in enumerate(batches):
        rate = min((step + 1) / 5, 1.0) * 0.3
        if step > 4:
            rate = 0.15 * (1 + np.cos(np.pi * (step - 4) / (num_steps - 4)))
        optimizer.param_groups[0]["lr"] = rate
        logits = whole(x, edge_index)[ids]
        loss = functional.cross_entropy(logits, y[ids], torch.tensor(weights).float())
        optimizer.zero_grad()
        loss.backward()
        norms.append(nn.utils.clip_grad_norm_(whole.parameters(), 0.5).item())
        optimizer.step()
        expected.append(loss.item())
    np.testing.assert_allclose(recorder.job_losses, expected, atol=1e-4, rtol=0)
    assert max(norms) > 0.5 > min(norms) or min(norms) > 0.5


def with_labels(name, labels, num_classes):
    raw = power_law()
    return dataclasses.replace(
        raw, name=name, arrays=raw.arrays | {"y": ArrayRows(labels)}, num_classes=num_classes
    )


def test_scores_of_every_kind_of_label(ctx, parts, tmp_path):
    """Sums over ranks give what scikit-learn gives for all answers at once."""
    draw = np.random.default_rng(5)
    x, classes, edge_index = whole_graph(power_law())
    several = draw.integers(0, 2, (600, 4)).astype(np.uint8)
    numbers = draw.standard_normal(600) + 3
    for name, labels, num_outputs in (
        ("small", classes.numpy(), NUM_CLASSES),
        ("several", several, 4),
        ("numbers", numbers, 1),
        ("rows", several.astype(np.float32), 4),
    ):
        raw = with_labels(name, labels, 0 if name == "numbers" else num_outputs)
        graph = open_graph(ctx, parts, raw)
        model = build("sage", (NUM_FEATURES, 8, num_outputs))
        task = task_of(graph.manifest, "regression" if name == "rows" else "auto")
        scores = evaluate_scores(model, graph, ["val", "nothing"], task=task)
        ids = raw.splits["val"]
        out = WholeGraphModel(model)(x, edge_index)[ids].detach().numpy()
        true = labels[ids]
        if name == "small":
            given = out.argmax(axis=1)
            expected = {
                "accuracy": metrics.accuracy_score(true, given),
                "macro-F1": metrics.f1_score(true, given, average="macro", zero_division=0.0),
            }
        elif name == "several":
            expected = {
                f"{how}-F1": metrics.f1_score(true, out > 0, average=how, zero_division=0.0)
                for how in ("micro", "macro")
            }
        else:
            out = out.reshape(true.shape)
            expected = {
                "MAE": metrics.mean_absolute_error(true, out),
                "RMSE": metrics.root_mean_squared_error(true.reshape(-1), out.reshape(-1)),
                "R2": metrics.r2_score(true.reshape(-1), out.reshape(-1)),
            }
        # An answer next to a tie may fall either way.
        assert scores["val"] == pytest.approx(expected, abs=0.01)
        assert set(scores["nothing"].values()) == {None}
        assert task.score_name in expected


def test_balanced_and_given_class_weights(ctx, parts, tmp_path):
    raw = power_law()
    graph = open_graph(ctx, parts)
    _, y, _ = whole_graph(raw)
    labels = y.numpy()[raw.splits["train"]]
    expected = compute_class_weight("balanced", classes=np.arange(NUM_CLASSES), y=labels)
    np.testing.assert_allclose(class_weights("balanced", graph, NUM_CLASSES), expected)
    several = np.random.default_rng(5).integers(0, 2, (600, 4)).astype(np.uint8)
    several[:, 2] = 0
    graph_of_several = open_graph(ctx, parts, with_labels("lacking", several, 4))
    seeds = several[raw.splits["train"]]
    present = np.maximum(seeds.sum(axis=0), 1)
    balanced = np.where(seeds.any(axis=0), (len(seeds) - present) / present, 1.0)
    np.testing.assert_allclose(class_weights("balanced", graph_of_several, 4), balanced)

    if ctx.rank == 0:  # the only one that reads
        (tmp_path / "w.txt").write_text("1, 2\n3 4.5,0\n")
        np.save(tmp_path / "w.npy", np.array([1, 2, 3]))
        (tmp_path / "w.csv").write_text("a,b")
    words = str(tmp_path / "w.txt")
    assert class_weights(words, graph, NUM_CLASSES).tolist() == [1, 2, 3, 4.5, 0]
    for name, message in (
        ("w.npy", r"a number from 0 on for each of the 5 classes, got 3 numbers from 0 to 3"),
        ("w.csv", "cannot read the class weights .*w.csv: could not convert"),
        ("none", "cannot read the class weights .*none: .*No such file"),
    ):
        with pytest.raises(ConfigError, match=message):
            class_weights(str(tmp_path / name), graph, NUM_CLASSES)


def test_bfloat16_learns(ctx, parts):
    graph = open_graph(ctx, parts)
    wrapped = wrap(build("gcn"), ctx)
    ensure_in_degree(graph)
    loader = DistNeighborLoader(
        graph, "train", fanout=[3, 2], batch_size=25, arrays=("x", IN_DEGREE)
    )
    trainer = Trainer(
        wrapped,
        loader,
        torch.optim.AdamW(wrapped.parameters(), lr=0.02),
        task_of(graph.manifest),
        EpochRecorder(ctx),
        dtype=torch.bfloat16,
    )
    losses = [trainer.train_epoch(epoch).loss for epoch in range(6)]
    assert losses[-1] < losses[0]
    assert all(parameter.dtype == torch.float32 for parameter in wrapped.parameters())


def test_gradient_is_the_mean_over_all_seeds(ctx, parts):
    raw = power_law()
    graph = open_graph(ctx, parts)
    x, y, edge_index = whole_graph(raw)
    first = graph.to_original(graph.splits["train"][:1])
    # One seed on rank 0 and none elsewhere, then a few, then many.
    sizes = [first, *job_batches(raw, 3, 2), raw.splits["train"]]
    batches = [np.array(ctx.broadcast_json(ids.tolist())) for ids in sizes]
    wrapped = wrap(build("sage"), ctx)
    whole = WholeGraphModel(build("sage"))
    schedule = SeedSchedule.from_batches(own_batches(graph, batches), ctx)
    loader = DistNeighborLoader(graph, schedule, fanout=[-1, -1])
    for ids, batch in zip(batches, loader, strict=True):
        wrapped.zero_grad()
        out = wrapped(batch.x, batch.edge_index)[: batch.batch_size]
        functional.cross_entropy(out, batch.y).backward()  # NaN on a rank without seeds
        whole.zero_grad()
        functional.cross_entropy(whole(x, edge_index)[ids], y[ids]).backward()
        for ours, theirs in zip(unwrap(wrapped).parameters(), whole.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("transport", ["auto", "alltoall"])
@pytest.mark.parametrize("name", ["sage", "gat", "gcn", "gin"])
def test_evaluation_equals_the_whole_graph(ctx, parts, name, transport):
    raw = power_law()
    graph = open_graph(ctx, parts)
    dims = (NUM_FEATURES, 16, 12, NUM_CLASSES)
    model = build(name, dims)
    x, _, edge_index = whole_graph(raw)
    with torch.no_grad():
        expected = WholeGraphModel(model)(x, edge_index)
    for chunk_bytes in (1, 20_000, 1 << 30):
        got = exact_outputs(model, graph, chunk_bytes)
        torch.testing.assert_close(
            got, expected[np.array(graph.partition.original_id)], rtol=1e-4, atol=1e-4
        )


def exact_outputs(model, graph, chunk_bytes, **options):
    inference = gnnflow.training.LayerwiseInference(
        model, graph, chunk_bytes=chunk_bytes, **options
    )
    everyone = np.arange(graph.partition.num_vertices)
    pieces = list(inference.outputs(everyone))
    assert np.array_equal(np.concatenate([ids for ids, _ in pieces]), everyone)
    return torch.cat([out for _, out in pieces])


def test_hidden_rows_may_lie_in_a_file(ctx, parts):
    graph = open_graph(ctx, parts)
    model = build("sage")
    in_memory = exact_outputs(model, graph, 1 << 20)
    assert torch.equal(exact_outputs(model, graph, 1 << 20, hidden_bytes=0), in_memory)


class PlainModel(nn.Module):
    """A user's model that knows nothing of gnnflow."""

    def __init__(self):
        super().__init__()
        dims = (NUM_FEATURES, 16, NUM_CLASSES)
        self.convs = nn.ModuleList(SAGEConv(a, b) for a, b in itertools.pairwise(dims))

    def forward(self, x, edge_index):
        return self.convs[1](self.convs[0](x, edge_index).relu(), edge_index)


class LayeredPlainModel(PlainModel):
    """The same with a way to compute one layer."""

    num_layers = 2

    def layer(self, index, x, edge_index):
        out = self.convs[index](x, edge_index)
        return out.relu() if index == 0 else out


@pytest.mark.parametrize("model_class", [PlainModel, LayeredPlainModel])
def test_scores_of_a_users_model(ctx, parts, model_class):
    raw = power_law()
    graph = open_graph(ctx, parts)
    torch.manual_seed(3)
    model = model_class()
    x, y, edge_index = whole_graph(raw)
    right = model(x, edge_index).argmax(dim=1) == y
    expected = {split: right[ids].float().mean().item() for split, ids in raw.splits.items()}
    wrapped = wrap(model, ctx)
    assert wrapped.training
    scores = evaluate(wrapped, graph, num_hops=2)
    assert wrapped.training and model.training
    # A tie that rounding decides may fall either way.
    assert scores == pytest.approx(expected, abs=0.011)
    assert evaluate(wrapped, graph, ["nothing"], num_hops=2) == {"nothing": None}


def test_a_users_model_needs_its_number_of_hops(ctx, parts):
    graph = open_graph(ctx, parts)
    with pytest.raises(gnnflow.GnnflowError, match="PlainModel has no 'num_layers' and 'layer'"):
        evaluate(PlainModel(), graph)


@pytest.mark.parametrize("name", ["sage", "gat", "gcn", "gin"])
def test_ranks_with_few_one_or_no_seeds_finish(ctx, parts, name):
    """Five vertices and one train seed: with four ranks most have nothing to do."""
    graph = open_graph(ctx, parts, tiny())
    model = build(name)
    wrapped = wrap(model, ctx)
    ensure_in_degree(graph)
    loader = DistNeighborLoader(
        graph,
        "train",
        fanout=[2, 2],
        batch_size=2,
        arrays=("x", IN_DEGREE),
        transform=attach_layers if model.aggregates else None,
    )
    trainer = Trainer(
        wrapped,
        loader,
        torch.optim.Adam(wrapped.parameters(), lr=0.01),
        task_of(graph.manifest),
        EpochRecorder(ctx),
    )
    losses = [trainer.train_epoch(epoch).loss for epoch in range(5)]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    assert evaluate(wrapped, graph)["train"] in (0.0, 1.0)


def test_weights_stay_the_same_on_all_ranks(ctx, parts):
    graph = open_graph(ctx, parts)
    torch.manual_seed(ctx.rank)
    wrapped = wrap(make_model("sage", [NUM_FEATURES, 8, NUM_CLASSES], dropout=0.5), ctx)
    optimizer = torch.optim.Adam(wrapped.parameters(), lr=0.01)
    for batch in DistNeighborLoader(graph, "train", fanout=[3, 2], batch_size=16):
        out = wrapped(batch.x, batch.edge_index)[: batch.batch_size]
        optimizer.zero_grad()
        functional.cross_entropy(out, batch.y).backward()
        optimizer.step()
    flat = torch.cat([parameter.detach().reshape(-1) for parameter in wrapped.parameters()])
    gathered = ctx.allgather_array(flat.numpy())
    assert all(np.array_equal(other, gathered[0]) for other in gathered)


def test_without_a_loader_all_ranks_count_the_same(ctx):
    wrapped = wrap(nn.Linear(1, 1, bias=False), ctx)
    wrapped(torch.tensor([[float(ctx.rank)]])).sum().backward()
    [weight] = wrapped.parameters()
    assert weight.grad.item() == pytest.approx((ctx.num_ranks - 1) / 2)


@pytest.mark.parametrize("transport", ["shared", "alltoall"])
def test_metrics_of_an_epoch(ctx, parts, tmp_path, transport):
    graph = open_graph(ctx, parts)
    recorder_file = tmp_path / "metrics.jsonl"
    with recorder_file.open("w") as sink:
        wrapped = wrap(build("sage"), ctx)
        loader = DistNeighborLoader(graph, "train", fanout=[3, 2], batch_size=8, cache=None)
        trainer = Trainer(
            wrapped,
            loader,
            torch.optim.Adam(wrapped.parameters()),
            task_of(graph.manifest),
            EpochRecorder(ctx, sink if ctx.rank == 0 else None),
        )
        seen = []
        epoch = trainer.train_epoch(3, seen.append)
    assert [step.step for step in seen] == list(range(len(loader)))
    assert epoch.epoch == 3
    assert epoch.epoch_time_s >= epoch.wait_s > 0
    assert epoch.volume_bytes == epoch.volume_rows * NUM_FEATURES * 4
    assert epoch.rows_without_cache == epoch.volume_rows
    assert (epoch.volume_rows > 0) == (ctx.num_ranks > 1 and transport == "alltoall")
    lines = recorder_file.read_text().splitlines()
    assert len(lines) == (len(loader) * ctx.num_ranks if ctx.rank == 0 else 0)


def test_in_degrees_leave_self_loops_out(ctx, parts):
    raw = make_graph(11, np.array([[0, 0, 1, 2, 2, 4], [0, 0, 0, 1, 1, 4]]))
    graph = open_graph(ctx, parts, raw)
    ensure_in_degree(graph)
    ensure_in_degree(graph)
    everyone = np.arange(11)
    degree = graph.store(IN_DEGREE).fetch(everyone)
    by_original = dict(zip(graph.to_original(everyone).tolist(), degree.tolist(), strict=True))
    assert by_original == {vertex: {0: 1.0, 1: 2.0}.get(vertex, 0.0) for vertex in range(11)}
