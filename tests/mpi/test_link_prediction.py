"""Edges to ask about: what the loader yields, gradients, and ranks among negatives."""

import numpy as np
import pytest
import torch
from small_graphs import power_law
from torch import nn
from torch.nn import functional
from torch_geometric.nn import SAGEConv
from torch_geometric.sampler import NegativeSampling

import gnnflow
from gnnflow.config import CacheConfig
from gnnflow.datasets.counter_hash import stream_key
from gnnflow.errors import ConfigError, DataError
from gnnflow.loader import DistLinkNeighborLoader
from gnnflow.loader.link_schedule import negative_vertices
from gnnflow.models import make_model
from gnnflow.partition.held_out_edges import edge_split_codes
from gnnflow.training import evaluate_links, wrap
from gnnflow.training.evaluation.link_evaluation import drawn_destinations, rank_of

pytestmark = pytest.mark.mpi(1, 2, 4)

SHARES = {"val_edges": 0.1, "test_edges": 0.1}
NUM_FEATURES = 7


@pytest.fixture
def graph(ctx, parts):
    return gnnflow.DistGraph.open(parts(power_law(), ctx.num_ranks, method="random", **SHARES), ctx)


def edges_of(split):
    """The edges of a split in original ids, straight from the input."""
    edges = np.asarray(power_law().edges)
    code = ["train", "val", "test"].index(split)
    return edges[:, edge_split_codes(*edges, (0.1, 0.1), 0) == code]


def expected_negatives(batch, num, epoch=0, seed=0):
    key = stream_key(seed, f"negatives of epoch {epoch}, minibatch {batch.minibatch}")
    return negative_vertices(key, num, power_law().num_vertices)


def gathered(ctx, array):
    return [np.asarray(rows) for rows in ctx.allgather_array(np.ascontiguousarray(array))]


@pytest.mark.parametrize("transport", ["auto", "alltoall"])
@pytest.mark.parametrize("ratio", [1, 2.5])
@pytest.mark.parametrize("split", ["train", "val"])
def test_binary(graph, transport, ratio, split):
    loader = DistLinkNeighborLoader(graph, split, [3, 2], 50, neg_sampling_ratio=ratio)
    asked = edges_of(split)
    assert len(loader) == -(-asked.shape[1] // (50 * graph.num_parts))
    seen, weights = [], []
    for batch in loader:
        original = graph.to_original(batch.n_id.numpy())
        num = len(batch.input_id)
        num_negative = int(np.ceil(num * ratio))
        assert batch.edge_label.dtype == torch.float32 and "y" not in batch
        assert batch.edge_label.tolist() == [1.0] * num + [0.0] * num_negative
        assert batch.edge_label_index.shape == (2, num + num_negative)
        pairs = original[batch.edge_label_index.numpy()]
        negatives = expected_negatives(batch, 2 * num_negative)
        assert np.array_equal(pairs[:, num:].reshape(-1), negatives)
        seen.append(pairs[:, :num])
        seeds = original[: batch.batch_size]
        assert batch.num_sampled_nodes[0] == batch.batch_size == len(np.unique(pairs))
        assert sorted(seeds) == np.unique(pairs).tolist()
        rows = power_law().arrays["x"].rows(original)
        assert torch.equal(batch.x, torch.from_numpy(rows))
        assert graph.ctx.loss_weight == batch.loss_weight
        weights.append([batch.loss_weight, len(batch.edge_label)])
    everyone = np.concatenate(gathered(graph.ctx, np.concatenate(seen, axis=1).T))
    assert sorted(everyone.tolist()) == sorted(asked.T.tolist())
    shares = np.stack(gathered(graph.ctx, np.array(weights)))
    assert np.allclose(shares[:, :, 0].sum(axis=0), 1)
    assert np.allclose(shares[:, :, 0], shares[:, :, 1] / shares[:, :, 1].sum(axis=0))


@pytest.mark.parametrize("draw", ["shared", "dependent"])
def test_draws_by_key(graph, draw):
    """The minibatch is what the sampler keeps of its seeds, which negatives are part of."""
    loader = DistLinkNeighborLoader(
        graph, "train", [3, 2], 64, neg_sampling="binary", seed=3, draw=draw, draw_every=4
    )
    sampler = graph.sampler(seed=3, draw=draw, draw_every=4)
    for epoch in range(2):
        for step, batch in enumerate(loader):
            expected = sampler.sample(
                *(batch.n_id[: batch.batch_size].numpy(), [3, 2]),
                epoch=0,
                minibatch=0,
                step=epoch * len(loader) + step,
            )
            np.testing.assert_array_equal(batch.n_id.numpy(), expected.vertices)
            np.testing.assert_array_equal(batch.edge_index.numpy(), expected.edge_index())


@pytest.mark.parametrize("amount", [1, 3])
def test_triplet(graph, amount):
    sampling = NegativeSampling("triplet", amount)
    loader = DistLinkNeighborLoader(graph, "test", [3], 20, neg_sampling=sampling, seed=4)
    loader.set_epoch(2)
    for batch in loader:
        original = graph.to_original(batch.n_id.numpy())
        num = len(batch.input_id)
        assert "edge_label_index" not in batch and "edge_label" not in batch
        assert batch.src_index.shape == batch.dst_pos_index.shape == (num,)
        assert batch.dst_neg_index.shape == ((num,) if amount == 1 else (num, amount))
        expected = expected_negatives(batch, num * amount, epoch=2, seed=4)
        assert np.array_equal(original[batch.dst_neg_index.numpy()].reshape(-1), expected)
        ends = np.stack([batch.src_index, batch.dst_pos_index])
        held = graph.partition.held_out_edges["test"][:, batch.input_id.numpy()]
        assert np.array_equal(batch.n_id.numpy()[ends], held)


def test_no_negatives_and_labels_of_ones_own(graph):
    low, high = graph.book.range(graph.ctx.rank)
    edges = np.random.default_rng(graph.ctx.rank).integers(0, 600, (2, 30))
    for labels, ratio, shift in (
        (None, None, None),
        (torch.arange(30) % 3, None, 0),
        (torch.arange(30) % 3, 1.0, 1),
        (torch.arange(30) % 3 + 1, 1.0, 0),
        # What PyG does with numbers that are no classes.
        (torch.arange(30) / 30 + 0.3, 1.0, 0),
        (torch.arange(30) / 30, 1.0, 1),
        (torch.arange(30) / 30 - 0.5, 1.0, 0),
        (torch.arange(60).reshape(30, 2) + 1, 0.5, 0),
    ):
        loader = DistLinkNeighborLoader(
            graph, edges, [2], 8, edge_label=labels, neg_sampling_ratio=ratio
        )
        for batch in loader:
            num = len(batch.input_id)
            pairs = batch.n_id[batch.edge_label_index].numpy()
            assert np.array_equal(pairs[:, :num], edges[:, batch.input_id.numpy()])
            if labels is None:
                assert "edge_label" not in batch
                continue
            assert batch.edge_label.dtype == labels.dtype
            assert len(batch.edge_label) == batch.edge_label_index.shape[1]
            assert torch.equal(batch.edge_label[:num], labels[batch.input_id] + shift)
            assert batch.edge_label[num:].eq(0).all()


def test_made_ahead_with_a_cache_is_the_same(graph):
    options = {"neg_sampling": "binary", "edge_ids": True, "exclude_targets": True}
    plain = DistLinkNeighborLoader(graph, "train", [4, 3], 64, **options)
    cache = CacheConfig(prefetch_depth=2, exchange_every=3)
    ahead = DistLinkNeighborLoader(graph, "train", [4, 3], 64, cache=cache, num_epochs=2, **options)
    for epoch in range(2):
        for loader in (plain, ahead):
            loader.set_epoch(epoch)
        for batch, same in zip(ahead, plain, strict=True):
            for name in ("n_id", "x", "edge_index", "e_id", "edge_label_index", "edge_label"):
                assert torch.equal(batch[name], same[name]), name
    ahead.close()


def test_labels_of_one_rank_decide_for_all(graph):
    """Only rank 0 has a label 0, so all labels are raised."""
    edges = np.zeros((2, 5), dtype=np.int64)
    labels = [1.0, 2.0, 3.0, 4.0, 0.0 if graph.ctx.rank == 0 else 5.0]
    loader = DistLinkNeighborLoader(
        graph, edges, [2], 8, edge_label=labels, neg_sampling="binary", shuffle=False
    )
    [batch] = loader
    assert batch.edge_label.tolist() == [label + 1 for label in labels] + [0.0] * 5
    labels[0] = float("nan")  # the smallest of all is no number then
    [batch] = DistLinkNeighborLoader(
        graph, edges, [2], 8, edge_label=labels, neg_sampling="binary", shuffle=False
    )
    assert batch.edge_label[1:5].tolist() == labels[1:]


def test_digests_tell_schedules_apart(graph):
    def digest(**options):
        loader = DistLinkNeighborLoader(graph, options.pop("split", "val"), [2], 20, **options)
        return loader.schedule.digest

    kinds = [{}, {"seed": 1}, {"split": "test"}, {"neg_sampling": "binary"}]
    kinds += [{"neg_sampling": "triplet"}, {"neg_sampling_ratio": 2}]
    assert len({digest(**dict(options)) for options in kinds}) == len(kinds)
    assert digest(neg_sampling="binary") == digest(neg_sampling_ratio=1)


def test_targets_are_out_of_reach(graph):
    """No message flows along an edge that is asked about, nor along its reverse."""
    options = {"neg_sampling_ratio": 1.0, "edge_ids": True, "shuffle": False}
    whole = DistLinkNeighborLoader(graph, "train", [-1, -1], 16, **options)
    without = DistLinkNeighborLoader(graph, "train", [-1, -1], 16, exclude_targets=True, **options)
    num_left_out = 0
    for batch, cut in zip(whole, without, strict=True):
        assert torch.equal(batch.n_id, cut.n_id)
        num = len(batch.input_id)
        targets = {tuple(pair) for pair in batch.edge_label_index[:, :num].T.tolist()}
        targets |= {(dst, src) for src, dst in targets}
        kept = torch.tensor(
            [tuple(pair) not in targets for pair in batch.edge_index.T.tolist()], dtype=torch.bool
        )
        assert torch.equal(batch.edge_index[:, kept], cut.edge_index)
        assert torch.equal(batch.e_id[kept], cut.e_id)
        hops = kept.split(batch.num_sampled_edges)
        assert cut.num_sampled_edges == [int(hop.sum()) for hop in hops]
        num_left_out += int((~kept).sum())
    assert num_left_out


class Encoder(nn.Module):
    """Embeddings by two convolutions."""

    num_layers = 2

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.convs = nn.ModuleList([SAGEConv(NUM_FEATURES, 16), SAGEConv(16, 8)])

    def layer(self, index, x, edge_index):
        out = self.convs[index](x, edge_index)
        return out.relu() if index == 0 else out

    def forward(self, x, edge_index):
        for index in range(2):
            x = self.layer(index, (x, x), edge_index)
        return x


def on_whole_graph(encoder):
    raw = power_law()
    x = torch.from_numpy(raw.arrays["x"].rows(np.arange(raw.num_vertices)))
    return encoder(x, torch.from_numpy(edges_of("train")))


def loss_of(z, pairs, labels):
    scores = (z[pairs[0]] * z[pairs[1]]).sum(-1)
    return functional.binary_cross_entropy_with_logits(scores, labels)


def test_gradient_is_the_mean_over_all_labels_of_the_job(graph):
    """Ratio 0.5 rounds up, so the ranks' shares are not those of their edges."""
    encoder, whole = Encoder(), Encoder()
    wrapped = wrap(encoder, graph.ctx)
    loader = DistLinkNeighborLoader(graph, "val", [-1, -1], 13, neg_sampling_ratio=0.5)
    for batch in loader:
        wrapped.zero_grad()
        z = wrapped(batch.x, batch.edge_index)
        loss_of(z, batch.edge_label_index, batch.edge_label).backward()
        original = graph.to_original(batch.n_id.numpy())[batch.edge_label_index.numpy()]
        pairs = np.concatenate(gathered(graph.ctx, original.T)).T
        labels = np.concatenate(gathered(graph.ctx, batch.edge_label.numpy()))
        whole.zero_grad()
        loss_of(on_whole_graph(whole), pairs, torch.from_numpy(labels)).backward()
        for ours, theirs in zip(encoder.parameters(), whole.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def expected_scores(encoder, split, num_negatives, hits_at, scorer):
    """The same measures by loops over the whole graph."""
    with torch.no_grad():
        z = on_whole_graph(encoder)
    ranks = []
    for src, dst in edges_of(split).T:
        negatives = drawn_destinations(
            np.array([src]), np.array([dst]), num_negatives, len(z), seed=0
        )[0]
        score = scorer(z[[src]], z[[dst]]).item()
        others = [scorer(z[[src]], z[[int(other)]]).item() for other in negatives]
        ranks.append(1 + sum((o > score) + 0.5 * (abs(o - score) < 1e-6) for o in others))
    expected = {"mrr": np.mean(1 / np.array(ranks))}
    return expected | {f"hits@{k}": np.mean(np.array(ranks) <= k) for k in hits_at}


def distance(src, dst):
    return -(src - dst).square().sum(-1)


@pytest.mark.parametrize("transport", ["auto", "alltoall"])
def test_ranks_equal_those_on_the_whole_graph(graph, transport):
    encoder = Encoder()
    wrapped = wrap(encoder, graph.ctx)
    for split, chunk_bytes in (("val", 1), ("test", 1 << 27)):
        got = evaluate_links(
            wrapped,
            graph,
            split,
            num_negatives=20,
            hits_at=(1, 5),
            scorer=distance,
            chunk_bytes=chunk_bytes,
        )
        assert encoder.training
        expected = expected_scores(encoder, split, 20, (1, 5), distance)
        # Rounding may decide between scores that are nearly equal.
        assert got == pytest.approx(expected, abs=3e-3)
    both = evaluate_links(make_model("sage", [NUM_FEATURES, 8]), graph, "train")
    assert list(both) == ["mrr", "hits@1", "hits@10", "hits@50"]
    nothing = np.empty((2, 0), dtype=np.int64)
    assert evaluate_links(encoder, graph, nothing) == dict.fromkeys(both)


def test_ranks():
    positive = torch.tensor([1.0, 2.0, 0.0, float("nan")])
    negative = torch.tensor([[0.0, 0.5], [2.0, 3.0], [0.0, 0.0], [1.0, 1.0]])
    assert rank_of(positive, negative).tolist() == [1.0, 2.5, 2.0, 2.0]


def test_drawn_destinations_are_uniform_and_differ_between_edges():
    src, dst = np.zeros(2000, dtype=np.int64), np.arange(2000)
    drawn = drawn_destinations(src, dst, 50, 10, seed=0)
    counts = np.bincount(drawn.reshape(-1), minlength=10)
    assert abs(counts / drawn.size - 0.1).max() < 0.01
    assert len({tuple(row) for row in drawn.tolist()}) == 2000
    assert not np.array_equal(drawn, drawn_destinations(src, dst, 50, 10, seed=1))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"edge_label_index": "valid"}, DataError, "no edges 'valid' .it has: train, val, test"),
        ({"edge_label_index": [[0], [600]]}, DataError, r"global ids in \[0, 600\), got 0 to 600"),
        ({"edge_label_index": [0, 1]}, DataError, r"must be \[2, num_edges\] global ids"),
        ({"edge_label": [1, 2]}, DataError, "edge_label must have one entry per edge"),
        ({"neg_sampling_ratio": -1}, ConfigError, "'amount' needs to be positive"),
        ({"neg_sampling": "ternary"}, ConfigError, "'ternary' is not a valid NegativeSampling"),
        ({"neg_sampling": "binary", "neg_sampling_ratio": 1}, ConfigError, "not both"),
        ({"batch_size": 0}, ConfigError, "batch_size must be at least 1, got 0"),
        ({"batch_size": 2.5}, ConfigError, "batch_size must be a whole number, got 2.5"),
        ({"num_workers": 0, "drop_last": True}, ConfigError, "drop_last=True has no meaning"),
        ({"device": "gpu"}, ConfigError, "device must be None, cpu or cuda, got 'gpu'"),
        ({"device": "cpu", "pin_memory": True}, ConfigError, "pin_memory"),
        ({"edge_label": 3}, DataError, "edge_label must have one entry per edge.*got a number"),
        (
            {"neg_sampling": NegativeSampling("binary", 1, src_weight=torch.ones(600))},
            ConfigError,
            "draws uniformly here",
        ),
    ],
)
def test_bad_options(graph, options, error, message):
    with pytest.raises(error, match=message):
        DistLinkNeighborLoader(graph, **options)


def test_bad_evaluation(graph):
    with pytest.raises(ConfigError, match="Linear has no 'num_layers' and 'layer'"):
        evaluate_links(nn.Linear(1, 1), graph)
    with pytest.raises(ConfigError, match=r"hits_at in \[1, num_negatives\], got 5 and \[10\]"):
        evaluate_links(Encoder(), graph, num_negatives=5, hits_at=[10])
