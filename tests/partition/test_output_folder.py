"""The output folder is complete or not there, whatever happens."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from raw_graphs import make_graph, partitioned

from gnnflow.config import PartitionConfig
from gnnflow.datasets import RawGraph
from gnnflow.errors import ConfigError, DataError, PartitionFormatError
from gnnflow.partition import open_partition, partition_graph, read_manifest


class FailingRows:
    """Features that cannot be read to the end."""

    shape = (50, 3)
    dtype = np.dtype(np.float32)

    def rows(self, ids: np.ndarray) -> np.ndarray:
        raise OSError("disk gone")


def with_failing_rows() -> RawGraph:
    graph = make_graph(50, 100)
    return RawGraph(
        name="failing",
        source="test",
        num_vertices=50,
        edges=graph.edges,
        arrays={"x": FailingRows()},
        splits=graph.splits,
        num_classes=0,
    )


def test_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    with pytest.raises(ConfigError, match="exists and is not empty; choose another --out"):
        partitioned(make_graph(9, 9), tmp_path / "out", num_parts=2)
    assert os.listdir(tmp_path) == ["out"]
    assert (tmp_path / "out" / "mine.txt").read_text() == "keep"


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("keep")
    with pytest.raises(ConfigError, match="exists and is not empty"):
        partitioned(make_graph(9, 9), tmp_path / "out", num_parts=2)
    with pytest.raises(ConfigError, match="cannot write to .*; choose another --out"):
        partitioned(make_graph(9, 9), tmp_path / "out" / "inside", num_parts=2)
    assert (tmp_path / "out").read_text() == "keep"


def test_empty_folder_and_missing_parents_are_fine(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "empty", tmp_path / "a" / "b"):
        partitioned(make_graph(9, 9), out, num_parts=2)
        assert [path.name for path in out.parent.iterdir() if path.name.startswith(".")] == []


def test_overwrite_replaces_a_partition_only(tmp_path: Path) -> None:
    out = tmp_path / "out"
    partitioned(make_graph(9, 9), out, num_parts=2)
    config = PartitionConfig(num_parts=3)
    partition_graph(make_graph(9, 9), out, config, overwrite=True)
    assert read_manifest(out).num_parts == 3
    assert os.listdir(tmp_path) == ["out"]
    (out / "manifest.json").unlink()
    with pytest.raises(ConfigError, match="is not a partition folder"):
        partition_graph(make_graph(9, 9), out, config, overwrite=True)


def test_failed_overwrite_keeps_the_old(tmp_path: Path) -> None:
    out = tmp_path / "out"
    partitioned(make_graph(9, 9), out, num_parts=2)
    before = (out / "manifest.json").read_bytes()
    with pytest.raises(OSError, match="disk gone"):
        partition_graph(with_failing_rows(), out, PartitionConfig(num_parts=3), overwrite=True)
    assert (out / "manifest.json").read_bytes() == before
    assert os.listdir(tmp_path) == ["out"]
    open_partition(out, 1, verify=True)


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk gone"):
        partition_graph(with_failing_rows(), tmp_path / "out", PartitionConfig(num_parts=2))
    assert os.listdir(tmp_path) == []


def test_a_bad_graph_leaves_nothing(tmp_path: Path) -> None:
    graph = make_graph(9, 9)
    graph.edges[0, 4] = 9
    with pytest.raises(DataError, match="names vertex 9"):
        partitioned(graph, tmp_path / "out", num_parts=2)
    assert os.listdir(tmp_path) == []


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "writing topology":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        partition_graph(make_graph(9, 9), tmp_path / "out", PartitionConfig(num_parts=2), interrupt)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("stage", ["cutting with METIS", "writing topology", "writing y"])
def test_a_kill_leaves_nothing_that_loads(tmp_path: Path, stage: str) -> None:
    code = f"""
import os, signal, sys
from raw_graphs import make_graph
from gnnflow.config import PartitionConfig
from gnnflow.partition import partition_graph

def kill(stage, done, total):
    if stage == {stage!r}:
        os.kill(os.getpid(), signal.SIGKILL)

partition_graph(make_graph(60, 90), sys.argv[1], PartitionConfig(num_parts=2), kill)
"""
    here = Path(__file__).parent
    killed = subprocess.run([sys.executable, "-c", code, tmp_path / "out"], cwd=here, check=False)
    assert killed.returncode == -9
    assert not (tmp_path / "out").exists()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".out.unfinished-")
    with pytest.raises(PartitionFormatError, match="not a complete partition"):
        open_partition(left, 0)
    partitioned(make_graph(60, 90), tmp_path / "out", num_parts=2)
