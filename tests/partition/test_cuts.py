"""Quality of the cuts: balance, sense, determinism, two levels."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_graphs import METHODS, make_graph, partitioned, raw_graphs, two_clusters

from gnnflow.config import PartitionConfig
from gnnflow.datasets import ArrayRows, RawGraph
from gnnflow.errors import ConfigError
from gnnflow.partition import PartitionReport, partition_graph
from gnnflow.partition.adjacency import Adjacency, build_adjacency
from gnnflow.partition.csc import count_in_degrees
from gnnflow.partition.cut import cut_randomly, fill_empty_parts
from gnnflow.partition.ldg import SETTLED_FRACTION, SLACKS, cut_with_ldg, rebalance


def communities(num_groups: int, group_size: int, inside: float, seed: int = 0) -> RawGraph:
    """Groups of vertices with skewed degrees; most edges stay inside a group."""
    generator = np.random.default_rng(seed)
    num_vertices, num_edges = num_groups * group_size, 8 * num_groups * group_size
    skewed = (group_size * generator.random(num_edges) ** 2).astype(np.int64)
    group = generator.integers(0, num_groups, num_edges)
    destinations = group * group_size + skewed
    other = np.where(
        generator.random(num_edges) < inside, group, generator.integers(0, num_groups, num_edges)
    )
    sources = other * group_size + generator.integers(0, group_size, num_edges)
    # Ids say nothing about the group, and train seeds are not spread evenly over the groups.
    shuffled = generator.permutation(num_vertices)
    chance = np.where(np.arange(num_vertices) < num_vertices // 2, 0.3, 0.05)
    train = np.sort(shuffled[generator.random(num_vertices) < chance])
    return RawGraph(
        name="communities",
        source="test",
        num_vertices=num_vertices,
        edges=shuffled[np.stack((sources, destinations))],
        arrays={"y": ArrayRows(np.zeros(num_vertices, dtype=np.int64))},
        splits={"train": train},
        num_classes=1,
    )


def cut(graph: RawGraph, tmp_path: Path, **options: object) -> PartitionReport:
    name = "-".join(map(str, options.values()))
    return partition_graph(graph, tmp_path / name, PartitionConfig(**options))


@pytest.mark.parametrize("method", ["metis", "ldg", "mtkahypar"])
@pytest.mark.parametrize("hosts", [1, 2])
def test_balanced_on_three_counts_and_better_than_chance(
    tmp_path: Path, method: str, hosts: int
) -> None:
    graph = communities(8, 500, inside=0.9)
    report = cut(graph, tmp_path, method=method, num_parts=4, hosts=hosts)
    by_chance = cut(graph, tmp_path, method="random", num_parts=4)
    for count in ("vertices", "edges", "train"):
        assert report.balance[count] <= 1.055, (count, report.balance)
    assert report.edge_cut < 0.35 < 0.7 < by_chance.edge_cut


def test_random_deals_evenly(tmp_path: Path) -> None:
    report = cut(communities(8, 501, inside=0.9), tmp_path, method="random", num_parts=5)
    assert np.ptp(report.num_vertices) <= 1
    assert np.ptp(report.num_seeds["train"]) <= 1


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(1, 6), st.integers(0, 2**40))
def test_random_is_a_deal(is_train: list[bool], num_parts: int, seed: int) -> None:
    train = np.array(is_train)
    part = cut_randomly(train, num_parts, seed)
    assert np.array_equal(part, cut_randomly(train, num_parts, seed))
    for chosen in (train, ~train, np.ones_like(train)):
        assert np.ptp(np.bincount(part[chosen], minlength=num_parts)) <= 1


@pytest.mark.parametrize("method", ["metis", "ldg", "mtkahypar"])
def test_finds_the_one_edge_between_two_clusters(tmp_path: Path, method: str) -> None:
    report = cut(two_clusters(12), tmp_path, method=method, num_parts=2)
    assert report.num_cut_edges == 1
    assert report.num_vertices.tolist() == [12, 12]


@pytest.mark.parametrize("method", METHODS)
def test_another_seed_gives_another_cut(tmp_path: Path, method: str) -> None:
    graph = communities(4, 60, inside=0.5)
    cuts = []
    for seed in (1, 1, 2):
        out = tmp_path / f"{seed}-{len(cuts)}"
        parts = partitioned(graph, out, method=method, num_parts=2, seed=seed)
        cuts.append(parts[0].original_id.tolist())
    assert cuts[0] == cuts[1] != cuts[2]


@pytest.mark.parametrize("method", ["metis", "ldg", "mtkahypar"])
def test_hosts_come_first(tmp_path: Path, method: str) -> None:
    """Two far-apart halves of two near clusters each: a host gets a half, not two quarters."""
    generator = np.random.default_rng(0)
    quarter, size = np.arange(4).repeat(3000), 50
    halves = quarter // 2 * 2 + generator.integers(0, 2, len(quarter))
    other = np.where(generator.random(len(quarter)) < 0.8, quarter, halves)
    sources = other * size + generator.integers(0, size, len(quarter))
    destinations = quarter * size + generator.integers(0, size, len(quarter))
    graph = RawGraph(
        name="halves",
        source="test",
        num_vertices=4 * size,
        edges=np.stack((sources, destinations)),
        arrays={},
        splits={},
        num_classes=0,
    )
    out = tmp_path / "out"
    parts = partitioned(graph, out, method=method, num_parts=4, hosts=2)
    half_of = [set((part.original_id // (2 * size)).tolist()) for part in parts]
    on_hosts = [half_of[0] | half_of[1], half_of[2] | half_of[3]]
    assert sorted(map(tuple, on_hosts)) == [(0,), (1,)]


@settings(max_examples=25, deadline=None)
@given(raw_graphs(), st.sampled_from(METHODS), st.sampled_from([(4, 2), (4, 4), (5, 5)]))
def test_no_part_is_empty(
    tmp_path_factory: pytest.TempPathFactory,
    graph: RawGraph,
    method: str,
    levels: tuple[int, int],
) -> None:
    num_parts, hosts = levels
    out = tmp_path_factory.mktemp("cut") / "out"
    config = PartitionConfig(method=method, num_parts=num_parts, hosts=hosts)
    assert partition_graph(graph, out, config).num_vertices.min() >= 1


def test_hosts_must_divide_the_parts() -> None:
    with pytest.raises(ConfigError, match="hosts must divide num_parts"):
        PartitionConfig(num_parts=4, hosts=3)


def test_empty_parts_are_filled() -> None:
    part = np.array([3, 3, 3, 1, 3], dtype=np.int32)
    fill_empty_parts(part, 4, np.array([5, 1, 9, 0, 2]))
    assert part.tolist() == [3, 0, 3, 1, 2]


def plain_ldg(
    adjacency: Adjacency, weights: np.ndarray, num_parts: int, seed: int, imbalance: float
) -> list[int]:
    """The streaming rule, vertex by vertex."""
    num_vertices, num_constraints = weights.shape
    totals = weights.sum(axis=0).tolist()
    part, load = [-1] * num_vertices, np.zeros((num_parts, num_constraints), dtype=int)
    for slack in SLACKS:
        capacity = [
            max(-(-total // num_parts), (imbalance + slack) * (total / num_parts))
            for total in totals
        ]
        num_moved = 0
        for v in np.random.default_rng(seed).permutation(num_vertices).tolist():
            before = part[v]
            if before >= 0:
                load[before] -= weights[v]
            neighbors = adjacency.neighbors[adjacency.indptr[v] : adjacency.indptr[v + 1]]
            ranking = []
            for p in range(num_parts):
                room = 1.0
                for c in range(num_constraints):
                    if weights[v, c]:
                        room = min(room, 1.0 - (load[p, c] + weights[v, c]) / capacity[c])
                count = sum(part[u] == p for u in neighbors.tolist())
                score = room - 1.0 if room < 0 else count * (room + 1e-9)
                ranking.append((score, room, -p))
            part[v] = -max(ranking)[2]
            load[part[v]] += weights[v]
            num_moved += part[v] != before
        if num_moved < SETTLED_FRACTION * num_vertices:
            break
    return part


@settings(max_examples=40, deadline=None)
@given(raw_graphs(), st.integers(1, 4), st.integers(0, 9))
def test_ldg_follows_the_rule(
    tmp_path_factory: pytest.TempPathFactory, graph: RawGraph, num_parts: int, seed: int
) -> None:
    scratch = tmp_path_factory.mktemp("adjacency")
    adjacency = build_adjacency(graph.edges, graph.num_vertices, scratch)
    in_degree = count_in_degrees(graph.edges, graph.num_vertices)
    ones = np.ones(graph.num_vertices, dtype=np.int32)
    weights = np.stack((ones, in_degree.astype(np.int32)), axis=1)
    told: list[tuple[str, int, int]] = []
    part = cut_with_ldg(
        adjacency,
        weights,
        num_parts,
        seed=seed,
        imbalance=1.05,
        progress=lambda *step: told.append(step),
    )
    assert part.tolist() == plain_ldg(adjacency, weights, num_parts, seed, 1.05)
    assert told[-1] == ("streaming vertices", len(SLACKS), len(SLACKS))


def excesses(part: np.ndarray, weights: np.ndarray, num_parts: int, limit: float) -> float:
    """Sum of the squares by which parts exceed their capacity."""
    total = 0.0
    for column in weights.T:
        mean = column.sum() / num_parts
        filled = np.bincount(part, weights=column, minlength=num_parts)
        total += (np.maximum(0, filled / max(np.ceil(mean), limit * mean) - 1) ** 2).sum()
    return float(total)


@settings(max_examples=40, deadline=None)
@given(raw_graphs(), st.integers(2, 4), st.integers(0, 9))
def test_rebalancing_never_makes_it_worse(
    tmp_path_factory: pytest.TempPathFactory, graph: RawGraph, num_parts: int, seed: int
) -> None:
    scratch = tmp_path_factory.mktemp("adjacency")
    adjacency = build_adjacency(graph.edges, graph.num_vertices, scratch)
    in_degree = count_in_degrees(graph.edges, graph.num_vertices)
    ones = np.ones(graph.num_vertices, dtype=np.int32)
    columns = [column for column in (ones, in_degree.astype(np.int32)) if column.any()]
    weights = np.stack(columns, axis=1)
    generator = np.random.default_rng(seed)
    before = generator.integers(0, generator.integers(1, num_parts + 1), len(ones), dtype=np.int32)
    kept = before.copy()
    after = rebalance(adjacency, weights, before, num_parts, seed=seed, imbalance=1.05)
    assert np.array_equal(before, kept)
    assert after.min() >= 0 and after.max() < num_parts
    was, now = (excesses(part, weights, num_parts, 1.05) for part in (before, after))
    assert now <= was + 1e-12
    if np.array_equal(before, after):
        # Then there is nothing to mend, or no move of one vertex mends it.
        for vertex in np.flatnonzero(was > 1e-4 * ones):
            for part in range(num_parts):
                moved = before.copy()
                moved[vertex] = part
                assert excesses(moved, weights, num_parts, 1.05) >= was - 1e-12


def test_parts_too_large_each_in_another_count_are_mended(tmp_path: Path) -> None:
    """Two parts have too many edges, two too many vertices: none has room for everything."""
    graph = communities(4, 500, inside=0.9)
    adjacency = build_adjacency(graph.edges, graph.num_vertices, tmp_path)
    in_degree = count_in_degrees(graph.edges, graph.num_vertices)
    ones = np.ones(graph.num_vertices, dtype=np.int32)
    weights = np.stack((ones, in_degree.astype(np.int32)), axis=1)
    by_degree = np.argsort(-in_degree, kind="stable")
    part = np.empty(graph.num_vertices, dtype=np.int32)
    # The vertices with many edges go to parts 0 and 1, until half of the edges are there.
    many = int(np.searchsorted(np.cumsum(in_degree[by_degree]), 0.56 * in_degree.sum()))
    part[by_degree[:many]] = np.arange(many) % 2
    part[by_degree[many:]] = 2 + np.arange(graph.num_vertices - many) % 2
    assert excesses(part, weights, 4, 1.05) > 0.01
    mended = rebalance(adjacency, weights, part, 4, seed=0, imbalance=1.05)
    for column in weights.T:
        filled = np.bincount(mended, weights=column, minlength=4)
        assert filled.max() / filled.mean() <= 1.055


def test_report_adds_up(tmp_path: Path) -> None:
    graph = make_graph(60, 300, seed=3)
    parts = partitioned(graph, tmp_path / "again", method="random", num_parts=3)
    report = cut(graph, tmp_path, method="random", num_parts=3)
    assert report.num_parts == 3
    assert report.num_vertices.tolist() == [part.num_vertices for part in parts]
    assert report.num_edges.tolist() == [part.num_edges for part in parts]
    assert report.num_halo.tolist() == [len(part.halo) for part in parts]
    for part in parts:
        owners = part.book.owner(part.indices)
        into = report.edge_traffic[part.part_id]
        assert into.tolist() == np.bincount(owners, minlength=3).tolist()
        asked = report.halo_traffic[part.part_id]
        assert asked.tolist() == np.bincount(part.halo_owner, minlength=3).tolist()
    assert report.edge_traffic.sum() == graph.num_edges
    assert report.num_cut_edges == report.edge_traffic.sum() - np.trace(report.edge_traffic)
    manifest = parts[0].manifest
    assert manifest.edge_cut == report.edge_cut == report.num_cut_edges / graph.num_edges
    assert manifest.balance == report.balance
    assert manifest.num_seeds("train") == tuple(report.num_seeds["train"])
    largest, mean = max(report.num_edges), sum(report.num_edges) / 3
    assert report.balance["edges"] == pytest.approx(largest / mean)
    assert list(report.stage_s) == [
        "validate", "cut", "sort edges", "write topology", "write arrays"
    ]  # fmt: skip
    assert report.total_s == sum(report.stage_s.values()) > 0
    assert report.peak_memory_bytes > 1 << 20
