"""Gradients count with the share of their batch, whichever loader yielded last."""

import copy

import numpy as np
import pytest
import torch
from small_graphs import NUM_CLASSES, power_law
from torch import nn
from torch.nn import functional

import gnnflow
from gnnflow.loader import DistLinkNeighborLoader, DistNeighborLoader, SeedSchedule
from gnnflow.loader.loss_weight import marked_weight
from gnnflow.training import SyncBatchNorm, wrap

pytestmark = pytest.mark.mpi(1, 2, 4)


@pytest.fixture
def graph(ctx, parts):
    return gnnflow.DistGraph.open(parts(power_law(), ctx.num_ranks), ctx)


@pytest.fixture
def batches(graph):
    """A batch of each of two loaders that share the work among ranks in opposite ways."""
    rank, low = graph.ctx.rank, graph.book.range(graph.ctx.rank)[0]
    few, many = list(range(low, low + 3 * rank)), list(range(low, low + 20 - 5 * rank))
    loaders = [
        DistNeighborLoader(graph, SeedSchedule.from_batches([seeds], graph.ctx), [3])
        for seeds in (few, many)
    ]
    return [next(iter(loader)) for loader in loaders]


def net(ctx, norm=False):
    torch.manual_seed(4)
    layers = [nn.Linear(7, 8), nn.BatchNorm1d(8)] if norm else [nn.Linear(7, 8)]
    model = nn.Sequential(*layers, nn.ReLU(), nn.Linear(8, NUM_CLASSES))
    return SyncBatchNorm.convert_sync_batchnorm(model, ctx) if norm else model


def loss_of(model, batch, x=None):
    out = model(batch.x if x is None else x)[: batch.batch_size]
    return functional.cross_entropy(out, batch.y) if batch.batch_size else out.sum() * 0.0


def expected_gradients(ctx, model, batches):
    """Of the sum of the means over the seeds of all ranks' batches."""
    reference = copy.deepcopy(model)
    for batch in batches:
        seeds = max(int(ctx.allreduce_sum(batch.batch_size)), 1)
        (loss_of(reference, batch) * (batch.batch_size / seeds)).backward()
    return [
        torch.from_numpy(np.asarray(ctx.allreduce_sum(p.grad.numpy())))
        for p in reference.parameters()
    ]


def assert_gradients(model, expected):
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-5, atol=1e-6)


def test_two_loaders_in_turn(ctx, batches):
    model = net(ctx)
    wrapped = wrap(model, ctx)
    for batch in (*batches, *reversed(batches)):
        expected = expected_gradients(ctx, model, [batch])
        wrapped.zero_grad()
        loss_of(wrapped, batch).backward()
        assert_gradients(model, expected)


def test_a_view_and_a_batch_carry_the_weight_of_their_batch(ctx, batches):
    class OfBatch(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net(ctx)

        def forward(self, batch):
            return self.net(batch if isinstance(batch, torch.Tensor) else batch.x)

    model = OfBatch()
    wrapped = wrap(model, ctx)
    for batch in batches:
        expected = expected_gradients(ctx, model.net, [batch])
        for given in (batch, batch.x[:], batch.clone()):
            wrapped.zero_grad()
            loss_of(wrapped, batch, given).backward()
            assert_gradients(model, expected)


def test_what_a_transform_made_of_a_batch_carries_its_weight(ctx, graph):
    def as_tuple(batch):
        return batch.x, {"y": batch.y}, batch.batch_size

    loader = DistNeighborLoader(graph, "train", [3], 16, transform=as_tuple)
    x, rest, batch_size = next(iter(loader))
    weight = ctx.loss_weight
    ctx.loss_weight = ctx.batch_weight = weight / 2  # as if another loader had yielded since
    assert marked_weight(x) == marked_weight(rest) == weight
    assert len(rest["y"]) == batch_size


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("way", ["added up", "accumulated", "looked at"])
def test_batches_of_two_loaders_in_one_step(ctx, batches, way, order):
    batches = [batches[number] for number in order]
    model = net(ctx)
    wrapped = wrap(model, ctx)
    for _ in range(2):
        wrapped.zero_grad()
        if way == "added up":
            expected = expected_gradients(ctx, model, batches)
            (loss_of(wrapped, batches[0]) + loss_of(wrapped, batches[1])).backward()
        elif way == "accumulated" and ctx.num_ranks > 1:
            expected = expected_gradients(ctx, model, batches)
            with wrapped.no_sync():
                loss_of(wrapped, batches[0]).backward()
            loss_of(wrapped, batches[1]).backward()
        else:
            expected = expected_gradients(ctx, model, batches[:1])
            loss = loss_of(wrapped, batches[0])
            with torch.no_grad():
                wrapped(batches[1].x)
            loss.backward()
        assert_gradients(model, expected)


def test_copies_count_with_the_batch_yielded_last(ctx, batches):
    """Or with what was set by hand, which holds for marked ones too."""
    model = net(ctx)
    wrapped = wrap(model, ctx)
    last = batches[-1]
    expected = expected_gradients(ctx, model, [last])
    loss_of(wrapped, last, last.x.double().float()).backward()
    assert_gradients(model, expected)
    ctx.loss_weight = None
    own = copy.deepcopy(model)
    own.zero_grad()
    loss_of(own, last).backward()
    equal = [
        torch.from_numpy(np.asarray(ctx.allreduce_sum(p.grad.numpy()))) / ctx.num_ranks
        for p in own.parameters()
    ]
    wrapped.zero_grad()
    loss_of(wrapped, last).backward()
    assert_gradients(model, equal)


def test_batch_norm_over_ranks(ctx, batches):
    """As one process that holds the rows of all ranks."""
    for batch in (batches[0], batches[1], batches[0]):
        model = net(ctx, norm=True)
        wrapped = wrap(model, ctx)
        rows = [torch.from_numpy(x) for x in gathered(ctx, batch.x.numpy())]
        labels = [torch.from_numpy(y) for y in gathered(ctx, batch.y.numpy())]
        reference = net(None, norm=False)
        reference = nn.Sequential(reference[0], nn.BatchNorm1d(8), *reference[1:])
        out = reference(torch.cat(rows)).split([len(x) for x in rows])
        seeds = [each[: len(y)] for each, y in zip(out, labels, strict=True)]
        functional.cross_entropy(torch.cat(seeds), torch.cat(labels)).backward()
        loss_of(wrapped, batch).backward()
        assert_gradients(model, [p.grad for p in reference.parameters()])


def gathered(ctx, array):
    """The arrays of all ranks."""
    flat = ctx.allgather_array(np.ascontiguousarray(array).reshape(-1))
    return [each.reshape(-1, *array.shape[1:]) for each in flat]


def test_links_and_vertices_in_turn(ctx, graph):
    vertices = DistNeighborLoader(graph, "train", [3], 16)
    links = DistLinkNeighborLoader(graph, "train", [3], 16, neg_sampling="binary")
    model = net(ctx)
    wrapped = wrap(model, ctx)
    for batch, other in zip(vertices, links, strict=False):
        expected = expected_gradients(ctx, model, [batch])
        wrapped.zero_grad()
        loss_of(wrapped, batch).backward()
        assert_gradients(model, expected)
        assert ctx.loss_weight == other.loss_weight
        break
