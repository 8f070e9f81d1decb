"""The sides of benchmarks.partition, on a graph of a few vertices."""

import os
from pathlib import Path

import pytest

from benchmarks import partition
from benchmarks._partition_side import open_graph


@pytest.fixture
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(Path(__file__).parents[2])
    partition.write_graph("sbm:vertices=400,edges=4000", tmp_path / "sbm")
    return tmp_path / "sbm"


def test_both_sides_run_and_tell_what_they_took(graph: Path, tmp_path: Path) -> None:
    opened = open_graph(graph)
    opened.validate()
    assert (opened.num_vertices, opened.num_edges) == (400, 4000)
    for side, keys in {
        "metis-alone": {"metis_s", "peak_memory_bytes"},
        "metis": {"total_s", "metis_s", "stage_s", "edge_cut", "balance"},
        "ldg": {"total_s", "metis_s", "stage_s", "edge_cut", "balance"},
    }.items():
        told = partition.measure(graph, side, tmp_path / "out")
        assert set(told) == keys | {"peak_bytes"}
        assert told["peak_bytes"] > 1 << 20
    assert os.listdir(tmp_path) == ["sbm"]


def test_memory_of_processes_below_counts() -> None:
    assert partition.proportional_bytes(os.getpid()) > 1 << 20
    assert partition.proportional_bytes(2**22 + 1) == 0
