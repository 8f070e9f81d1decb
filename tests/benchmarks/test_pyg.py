"""PyG as a peer trains the same graph in one process."""

from dataclasses import replace

import pytest

from benchmarks.cluster_runs import Workload
from benchmarks.hyperparameters import HYPERPARAMETERS
from benchmarks.peers import peer_folder, peer_python
from benchmarks.peers.pyg_job import run_pyg
from gnnflow.config import PartitionConfig
from gnnflow.datasets import generate
from gnnflow.partition import partition_graph


@pytest.mark.skipif(
    peer_python("pyg") is None,
    reason=f"PyG with torch-sparse is not in {peer_folder('pyg')}: python -m benchmarks.peers pyg",
)
def test_pyg_trains_in_one_process(tmp_path):
    spec = "sbm:vertices=2000,edges=16000,classes=4,within=0.9,features=16,train=0.5"
    partition_graph(generate(spec, seed=3), tmp_path / "parts", PartitionConfig(num_parts=2))
    hyper = replace(HYPERPARAMETERS, fanout=(5, 5), batch_size=100, hidden=16, epochs=3)
    workload = Workload(graph=spec, hyperparameters=hyper)
    run = run_pyg(peer_python("pyg"), tmp_path / "parts", workload, 2)
    assert len(run.epoch_time_s) == 3
    assert run.test_accuracy > 0.8
    [epochs] = run.details["epochs"]
    assert all(0 < epoch["train_s"] < epoch["epoch_time_s"] for epoch in epochs)
