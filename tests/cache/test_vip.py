"""Vertex inclusion probabilities of single ranks against a dense computation on the whole graph."""

import numpy as np
import pytest

from gnnflow._kernels import Topology
from gnnflow.cache import vip as vip_module
from gnnflow.cache.vip import inclusion_probabilities
from gnnflow.config import PartitionConfig
from gnnflow.datasets import RawGraph
from gnnflow.partition import open_partition
from gnnflow.partition.partition_graph import partition_graph
from gnnflow.replay.sample_traces import sample_traces
from gnnflow.sampling import LocalNeighborSampler


def make_parts(tmp_path_factory, seed, num_vertices=60, num_edges=300, num_parts=3, weighted=False):
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
        edge_weight=generator.exponential(1, num_edges) ** 3 if weighted else None,
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


def walk(parts, rank, num_steps, fanout, *, seeds=None, num_threads=1, seed=0, **options):
    topology = Topology(parts[0].book.offsets)
    for number, part in enumerate(parts):
        lists = (part.indptr, part.indices, part.original_id)
        topology.set_part(number, *lists, weight=part.edge_weight)
    weighted = options.get("weighted", False)
    sampler = LocalNeighborSampler(topology, seed=seed, num_threads=num_threads, weighted=weighted)
    if seeds is None:
        seeds = parts[rank].first_id + np.asarray(parts[rank].splits["train"])
    return inclusion_probabilities(
        parts[rank], sampler, seeds, num_steps=num_steps, fanout=fanout, **options
    )


@pytest.mark.parametrize("fanout", [(2,), (3, 2), (2, -1, 4)])
@pytest.mark.parametrize("num_steps", [1, 7])
def test_walks_of_all_parts_agree_with_the_whole_graph(parts, fanout, num_steps):
    for rank in range(len(parts)):
        result = walk(parts, rank, num_steps, fanout, min_probability=0)
        expected = dense_vip(parts, rank, num_steps, fanout)
        assert result.ids.tolist() == np.flatnonzero(expected > 0).tolist()
        assert result.values == pytest.approx(expected[result.ids], rel=1e-5)


def test_small_pieces_of_work_change_nothing(parts, monkeypatch):
    expected = [walk(parts, rank, 3, (4, 4)) for rank in range(len(parts))]
    monkeypatch.setattr(vip_module, "_CHUNK_DRAWS", 7)
    monkeypatch.setattr(vip_module, "_MERGE_AT", 3)
    for rank, other in enumerate(expected):
        one = walk(parts, rank, 3, (4, 4))
        assert one.ids.tolist() == other.ids.tolist()
        assert one.values == pytest.approx(other.values)


def test_what_is_unlikely_is_left_out(parts):
    options = {"num_steps": 20, "fanout": (2, 2)}
    for rank in range(len(parts)):
        result = walk(parts, rank, min_probability=0.02, **options)
        exact = dense_vip(parts, rank, **options)
        assert len(result.ids) < np.count_nonzero(exact)
        assert (np.abs(result.values - exact[result.ids]) < 0.1).all()
        assert (result.values >= 0.0199).all()


def test_ranks_without_seeds_and_one_rank(tmp_path_factory):
    parts = make_parts(tmp_path_factory, 5)
    nothing = np.zeros(0, dtype=np.int64)
    assert len(walk(parts, 0, 2, (3, 3))) > 0
    assert len(walk(parts, 1, 2, (3, 3), seeds=nothing)) == 0
    one = make_parts(tmp_path_factory, 6, num_parts=1)
    assert len(walk(one, 0, 2, (3, 3))) == 0


def test_seeds_of_other_parts_count(parts):
    elsewhere = parts[1].first_id + np.arange(2)
    result = walk(parts, 0, 4, (2,), seeds=elsewhere)
    assert (result.at(elsewhere) >= 0.2499).all()


@pytest.mark.parametrize("max_draws", [20, 60, 150])
def test_with_few_draws_expectations_are_kept(parts, monkeypatch, max_draws):
    """What is left out or drawn in part is made up for: the mean over seeds is the exact result."""
    monkeypatch.setattr(vip_module, "EPOCH_SHARE", 0)
    fanout, num_steps, num_walks = (3, 2), 50, 600
    exact = dense_vip(parts, 0, num_steps, fanout)
    total = np.zeros(len(exact))
    for seed in range(num_walks):
        monkeypatch.setattr(vip_module, "_coins", random_coins(seed))
        result = walk(parts, 0, num_steps, fanout, seed=seed, least_draws=max_draws)
        total[result.ids] += result.values
    assert total.sum() / num_walks == pytest.approx(exact.sum(), rel=0.05)
    assert np.corrcoef(total, exact)[0, 1] > 0.99


def random_coins(seed):
    return lambda ids, salt: np.random.default_rng((seed, salt)).random(len(ids))


def test_few_draws_give_the_same_on_every_run(parts, monkeypatch):
    monkeypatch.setattr(vip_module, "EPOCH_SHARE", 0)
    results = [
        walk(parts, 0, 50, (3, 2), least_draws=40, num_threads=threads) for threads in (1, 1, 3)
    ]
    for other in results[1:]:
        assert other.ids.tolist() == results[0].ids.tolist()
        assert other.values.tobytes() == results[0].values.tobytes()


def test_a_hop_draws_about_what_it_may():
    generator = np.random.default_rng(3)
    degrees = (generator.pareto(1.2, 20_000) * 5).astype(np.int64)
    degrees[7] = 1_000_000  # a hub
    probabilities = generator.random(20_000) ** 4
    for max_draws in (30_000, 60_000, 200_000):
        plan = vip_module._HopPlan.make(
            *(np.arange(20_000), probabilities, degrees, 10), max_draws=max_draws, salt=0
        )
        assert 0.5 * max_draws < plan.num_draws < 2.2 * max_draws
        assert (plan.widths[degrees == 0] == 0).all()
        places = np.concatenate([chunk.places for chunk in plan.chunks()])
        assert sorted(places.tolist()) == np.flatnonzero(plan.widths != 0).tolist()
    everything = vip_module._HopPlan.make(
        *(np.arange(20_000), probabilities, degrees, 10), max_draws=degrees.sum(), salt=0
    )
    assert set(everything.widths[degrees > 0].tolist()) == {-1}


@pytest.mark.parametrize("fanout", [(2,), (3, 2), (2, -1)])
def test_probabilities_of_draws_by_weight_are_frequencies(tmp_path_factory, fanout):
    parts = make_parts(tmp_path_factory, 4, weighted=True)
    num_steps, num_epochs = 4, 300

    def batches(rank, epoch):
        seeds = parts[rank].first_id + np.asarray(parts[rank].splits["train"])
        order = np.random.default_rng((epoch, rank)).permutation(seeds)
        return np.array_split(order, num_steps)

    given = {"fanout": fanout, "batch_size": 5, "num_epochs": num_epochs, "row_bytes": 4}
    traces = sample_traces(parts, batches, weight_attr="weight", **given)
    for rank, trace in enumerate(traces):
        assert trace.facts.draw == "independent, by weight"
        seen = np.bincount(trace.remote_ids, minlength=parts[0].book.num_vertices)
        frequencies = seen / trace.num_minibatches
        results = [walk(parts, rank, num_steps, fanout, weighted=each) for each in (True, False)]
        expected, alike = (result.at(np.arange(len(seen))) for result in results)
        assert np.corrcoef(frequencies, expected)[0, 1] > 0.95
        assert np.corrcoef(frequencies, expected)[0, 1] > np.corrcoef(frequencies, alike)[0, 1]
        assert frequencies.sum() == pytest.approx(expected.sum(), rel=0.15)


def test_progress_ends_at_all(parts):
    told = []
    walk(parts, 0, 3, (4, 4), progress=lambda hop, done: told.append((hop, done)))
    assert [hop for hop, done in told if done == 1] == [0, 1]


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


def test_a_seed_may_come_several_times_in_an_epoch(tmp_path_factory):
    """A schedule of one's own may do so; a step takes it once, so it is as likely as frequent."""
    parts = make_parts(tmp_path_factory, 3)
    part = parts[0]
    seeds = part.first_id + np.asarray(part.splits["train"])
    sampler = LocalNeighborSampler.over_parts(parts)

    def walked(seeds, num_steps):
        found = inclusion_probabilities(part, sampler, seeds, num_steps=num_steps, fanout=[-1, -1])
        return dict(zip(found.ids.tolist(), found.values.tolist(), strict=True))

    twice = walked(np.concatenate([seeds, seeds]), 10)
    once = walked(seeds, 5)
    assert twice.keys() == once.keys() and len(once) > 5
    assert list(twice.values()) == pytest.approx(list(once.values()))
    always = walked(np.tile(seeds, 9), 2)
    assert max(always.values()) <= 1
