"""The examples, as users start them, on small graphs."""

import re

import pytest
from ranks import ROOT, run_ranks

from gnnflow.config import PartitionConfig
from gnnflow.datasets import generate
from gnnflow.partition import partition_graph


@pytest.fixture
def partitioned(tmp_path):
    """Makes parts of a small graph with communities."""

    def make(num_parts, **options):
        graph = generate("sbm:vertices=400,edges=6000", seed=0, workdir=tmp_path)
        folder = tmp_path / f"parts{num_parts}"
        partition_graph(graph, folder, PartitionConfig(num_parts=num_parts, **options))
        return str(folder)

    return make


def test_link_prediction_on_two_ranks(partitioned):
    parts = partitioned(2, val_edges=0.1, test_edges=0.1)
    program = str(ROOT / "examples" / "link_prediction.py")
    ended = run_ranks(2, [program, parts, "--epochs", "3", "--batch-size", "256"])
    assert (ended.returncode, ended.stderr) == (0, "")
    *epochs, last = ended.stdout.splitlines()
    values = [float(re.fullmatch(r"epoch \d: val MRR (0\.\d+)", line)[1]) for line in epochs]
    found = {name: float(value) for name, value in re.findall(r"test (\S+) (\d\.\d+)", last)}
    assert list(found) == ["mrr", "hits@1", "hits@10", "hits@50"]
    # A random order has a mean reciprocal rank of 0.051 and 50 of 101 among the best 50.
    assert values[-1] > 0.1 and found["mrr"] > 0.1 and found["hits@50"] > 0.75
