import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cluster_runs import Workload
from benchmarks.emulated_hosts import (
    EmulationError,
    EmulationUnavailableError,
    emulated_hosts,
)
from benchmarks.hyperparameters import HYPERPARAMETERS
from benchmarks.peers import peer_folder, peer_python
from benchmarks.peers.distdgl_job import convert, run_distdgl
from benchmarks.peers.distdgl_layout import CONFIG_FILE, write_layout
from benchmarks.peers.training_job import exact_accuracy
from gnnflow.config import PartitionConfig
from gnnflow.datasets.raw_graph import RawGraph
from gnnflow.datasets.row_source import ArrayRows
from gnnflow.partition import open_partition, partition_graph

NUM_VERTICES, NUM_CLASSES, NUM_FEATURES = 400, 4, 8


@pytest.fixture(scope="module")
def graph() -> RawGraph:
    random = np.random.default_rng(5)
    labels = random.integers(0, NUM_CLASSES, NUM_VERTICES)
    edges = random.integers(0, NUM_VERTICES, (2, 8000))
    edges = edges[:, labels[edges[0]] == labels[edges[1]]]
    rows = np.eye(NUM_CLASSES, NUM_FEATURES)[labels] + random.normal(
        size=(NUM_VERTICES, NUM_FEATURES)
    )
    seeds = random.permutation(NUM_VERTICES)
    return RawGraph(
        name="four-communities",
        source="a test",
        num_vertices=NUM_VERTICES,
        edges=edges,
        arrays={"x": ArrayRows(rows.astype(np.float32)), "y": ArrayRows(labels)},
        splits={"train": np.sort(seeds[:200]), "test": np.sort(seeds[200:])},
        num_classes=NUM_CLASSES,
        edge_attr=None,
    )


@pytest.fixture(scope="module")
def parts(graph, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("distdgl") / "parts"
    partition_graph(graph, folder, PartitionConfig(num_parts=4, method="random"))
    return folder


@pytest.mark.parametrize("num_hosts", [1, 2, 4])
def test_layout_is_the_same_graph(parts, tmp_path, num_hosts):
    write_layout(parts, tmp_path, num_hosts)
    config = json.loads((tmp_path / CONFIG_FILE).read_text())
    partitions = [open_partition(parts, part) for part in range(4)]
    book = partitions[0].book
    ranges = config["node_map"]["_N"]
    assert ranges[0][0] == 0 and ranges[-1][1] == config["num_nodes"] == NUM_VERTICES
    sources, degrees, train = [], [], []
    for host in range(num_hosts):
        assert set(config[f"part-{host}"]) == {"part_graph", "node_feats", "edge_feats"}
        arrays = {
            file.stem: np.load(file, allow_pickle=False)
            for file in (tmp_path / f"part{host}").glob("*.npy")
        }
        low, high = ranges[host]
        num_inner = int(arrays["num_inner"])
        assert num_inner == high - low
        assert (arrays["vertex_ids"][:num_inner] == np.arange(low, high)).all()
        halo = arrays["vertex_ids"][num_inner:]
        assert ((halo < low) | (halo >= high)).all() and (np.diff(halo) > 0).all()
        assert arrays["first_edge"] == config["edge_map"]["_N:_E:_N"][host][0]
        assert arrays["indptr"][-1] == len(arrays["indices"])
        assert (np.diff(arrays["indptr"][num_inner:]) == 0).all()
        sources.append(arrays["vertex_ids"][arrays["indices"]])
        degrees.append(np.diff(arrays["indptr"][: num_inner + 1]))
        train.append(low + np.flatnonzero(arrays["train"]))
        owners = book.owner(np.arange(low, high)) // (4 // num_hosts)
        assert (owners == host).all()
        assert len(arrays["x"]) == len(arrays["y"]) == len(arrays["train"]) == num_inner
    assert (np.concatenate(sources) == np.concatenate([part.indices for part in partitions])).all()
    expected = np.concatenate([np.diff(part.indptr) for part in partitions])
    assert (np.concatenate(degrees) == expected).all()
    expected = np.concatenate([part.first_id + part.splits["train"] for part in partitions])
    assert (np.concatenate(train) == expected).all()


def test_layout_needs_equal_hosts(parts, tmp_path):
    with pytest.raises(EmulationError, match="4 parts .* over 3 hosts"):
        write_layout(parts, tmp_path, 3)


def test_accuracy_counts_all_neighbours(graph, parts, tmp_path):
    random = np.random.default_rng(7)
    sizes = [NUM_FEATURES, 5, NUM_CLASSES]
    weights = {}
    for layer, (inputs, outputs) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        weights[f"layers.{layer}.fc_self.weight"] = random.normal(size=(outputs, inputs))
        weights[f"layers.{layer}.fc_neigh.weight"] = random.normal(size=(outputs, inputs))
        weights[f"layers.{layer}.fc_self.bias"] = random.normal(size=outputs)
    np.savez(tmp_path / "weights.npz", **weights)
    everything = np.arange(NUM_VERTICES)
    rows = graph.arrays["x"].rows(everything).astype(np.float64)
    for layer in range(2):
        own, neighbours, bias = (
            weights[f"layers.{layer}.{name}"]
            for name in ("fc_self.weight", "fc_neigh.weight", "fc_self.bias")
        )
        mean = np.zeros_like(rows)
        for vertex in everything:
            sources = graph.edges[0][graph.edges[1] == vertex]
            if len(sources):
                mean[vertex] = rows[sources].mean(axis=0)
        rows = rows @ own.T + mean @ neighbours.T + bias
        if layer == 0:
            rows = np.maximum(rows, 0)
    correct = rows.argmax(axis=1) == graph.arrays["y"].rows(everything)
    accuracy = exact_accuracy(parts, tmp_path / "weights.npz")
    assert accuracy == {
        split: pytest.approx(correct[seeds].mean()) for split, seeds in graph.splits.items()
    }


@pytest.mark.skipif(
    peer_python("dgl") is None,
    reason=f"DGL is not in {peer_folder('dgl')}: python -m benchmarks.peers dgl",
)
def test_distdgl_trains_on_emulated_hosts(parts, tmp_path):
    python = peer_python("dgl")
    convert(python, parts, tmp_path / "converted", 2)
    hyper = replace(HYPERPARAMETERS, epochs=6, fanout=(5, 5), batch_size=20, hidden=16, lr=0.05)
    workload = Workload(hyperparameters=hyper)
    try:
        with emulated_hosts(2, rate="1gbit") as hosts:
            run = run_distdgl(hosts, python, parts, tmp_path / "converted", workload, 2, 1)
    except EmulationUnavailableError as reason:
        pytest.skip(str(reason))
    assert len(run.epoch_time_s) == 6
    assert run.test_accuracy > 0.8
    for trainer, host in zip(run.details["epochs"], ("host0", "host1"), strict=True):
        assert all(epoch["minibatches"] == 5 for epoch in trainer)
        # The rows counted are on the link, in both directions as nobody keeps a copy.
        remote_bytes = sum(epoch["remote_bytes"] for epoch in trainer)
        assert 0 < remote_bytes < run.traffic[host].received_bytes
