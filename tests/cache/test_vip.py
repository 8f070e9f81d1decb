"""Distributed vertex inclusion probabilities against a dense computation on the whole graph."""

import numpy as np
import pytest

from gnnflow.cache import vip as vip_module
from gnnflow.cache.vip import exchange_between, exchange_through, vip_walk
from gnnflow.config import PartitionConfig
from gnnflow.datasets import RawGraph
from gnnflow.partition import open_partition
from gnnflow.partition.partition_graph import partition_graph
from gnnflow.replay.sample_traces import sample_traces


def make_parts(tmp_path_factory, seed, num_vertices=60, num_edges=300, num_parts=3):
    generator = np.random.default_rng(seed)
    weights = generator.random(num_vertices) ** 3
    edges = np.stack(
        [
            generator.choice(num_vertices, num_edges, p=weights / weights.sum()),
            generator.integers(0, num_vertices, num_edges),
        ]
    )
    train = np.sort(generator.choice(num_vertices, num_vertices // 3, replace=False))
    rest = np.setdiff1d(np.arange(num_vertices), train)
    graph = RawGraph(
        name="toy",
        source="test",
        num_vertices=num_vertices,
        edges=edges,
        arrays={},
        splits={"train": train, "val": rest[:5], "test": rest[5:]},
        num_classes=0,
        edge_attr=None,
    )
    folder = tmp_path_factory.mktemp("parts") / "parts"
    partition_graph(graph, folder, PartitionConfig(num_parts=num_parts, method="random", seed=seed))
    return [open_partition(folder, part) for part in range(num_parts)]


def dense_vip(parts, rank, num_steps, fanout):
    """The three formulas, one edge after the other."""
    book = parts[0].book
    probabilities = np.zeros(book.num_vertices)
    low, high = book.range(rank)
    probabilities[low + np.asarray(parts[rank].splits["train"])] = 1 / num_steps
    not_needed = np.ones(book.num_vertices)
    for width in fanout:
        not_reached = np.ones(book.num_vertices)
        for part in parts:
            for local in range(part.num_vertices):
                neighbors = part.indices[part.indptr[local] : part.indptr[local + 1]]
                share = 1.0 if width < 0 else min(1.0, width / max(len(neighbors), 1))
                for neighbor in neighbors:
                    not_reached[neighbor] *= 1 - share * probabilities[part.first_id + local]
        probabilities = 1 - not_reached
        not_needed *= not_reached
    vip = 1 - not_needed
    vip[low:high] = 0
    return vip


@pytest.fixture(scope="module", params=[0, 1, 2])
def parts(request, tmp_path_factory):
    return make_parts(tmp_path_factory, request.param)


@pytest.mark.parametrize("fanout", [(2,), (3, 2), (2, -1, 4)])
@pytest.mark.parametrize("num_steps", [1, 7])
def test_walks_of_all_parts_agree_with_the_whole_graph(parts, fanout, num_steps):
    walks = [
        vip_walk(part, part.splits["train"], num_steps=num_steps, fanout=fanout, min_probability=0)
        for part in parts
    ]
    for rank, result in enumerate(exchange_between(walks)):
        expected = dense_vip(parts, rank, num_steps, fanout)
        assert result.ids.tolist() == np.flatnonzero(expected > 0).tolist()
        assert result.values == pytest.approx(expected[result.ids], rel=1e-5)


def test_small_pieces_of_work_change_nothing(parts, monkeypatch):
    def run():
        return exchange_between(
            [vip_walk(p, p.splits["train"], num_steps=3, fanout=(4, 4)) for p in parts]
        )

    expected = run()
    monkeypatch.setattr(vip_module, "_MAX_EDGES", 7)
    for one, other in zip(run(), expected, strict=True):
        assert one.ids.tolist() == other.ids.tolist()
        assert one.values == pytest.approx(other.values)


def test_what_is_unlikely_is_left_out(parts):
    options = {"num_steps": 20, "fanout": (2, 2)}
    walks = [vip_walk(p, p.splits["train"], min_probability=0.02, **options) for p in parts]
    for rank, result in enumerate(exchange_between(walks)):
        exact = dense_vip(parts, rank, **options)
        assert len(result.ids) < np.count_nonzero(exact)
        assert (np.abs(result.values - exact[result.ids]) < 0.1).all()
        assert (result.values >= 0.0199).all()


def test_ranks_without_seeds_and_one_rank(tmp_path_factory):
    parts = make_parts(tmp_path_factory, 5)
    nothing = np.zeros(0, dtype=np.int64)
    seeds = [parts[0].splits["train"], nothing, nothing]
    walks = [
        vip_walk(part, own, num_steps=2, fanout=(3, 3))
        for part, own in zip(parts, seeds, strict=True)
    ]
    first, second, third = exchange_between(walks)
    assert len(first) > 0 and len(second) == len(third) == 0
    [part] = make_parts(tmp_path_factory, 6, num_parts=1)
    walk = vip_walk(part, part.splits["train"], num_steps=2, fanout=(3, 3))
    assert len(exchange_through(walk, lambda messages: messages)) == 0


def test_probabilities_are_frequencies(parts):
    """In sampled minibatches vertices turn up about as often as their probabilities say."""
    fanout, num_steps, num_epochs = (3, 2), 4, 150

    def batches(rank, epoch):
        seeds = parts[rank].first_id + np.asarray(parts[rank].splits["train"])
        order = np.random.default_rng((epoch, rank)).permutation(seeds)
        return np.array_split(order, num_steps)

    traces = sample_traces(
        parts, batches, fanout=fanout, batch_size=5, num_epochs=num_epochs, row_bytes=4
    )
    for rank, trace in enumerate(traces):
        seen = np.bincount(trace.remote_ids, minlength=parts[0].book.num_vertices)
        frequencies = seen / trace.num_minibatches
        expected = dense_vip(parts, rank, num_steps, fanout)
        # Seeds of an epoch exclude each other, which the formula does not know.
        assert np.corrcoef(frequencies, expected)[0, 1] > 0.95
        assert frequencies.sum() == pytest.approx(expected.sum(), rel=0.15)
