"""What mtkahypar is given; how well it cuts is tested beside the other methods."""

from pathlib import Path

import numpy as np
import pytest

from gnnflow import _kernels
from gnnflow.errors import DataError, GnnflowError
from gnnflow.partition import mtkahypar, solver_process
from gnnflow.partition.adjacency import Adjacency

INDPTR = np.array([0, 2, 3, 3, 4])
NEIGHBORS = np.array([1, 3, 0, 0])


def plain_lines(indptr, neighbors, weights, first, last):
    lines = []
    for vertex in range(first, last):
        own = neighbors[indptr[vertex] : indptr[vertex + 1]]
        lines.append(" ".join(map(str, [weights[vertex], *(own + 1)])) + "\n")
    return "".join(lines).encode()


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_lines_are_those_of_the_format(dtype):
    weights = np.array([7, 1, 2**40, 3])
    for first, last in ((0, 4), (1, 3), (2, 2)):
        text = _kernels.metis_lines(INDPTR, NEIGHBORS.astype(dtype), weights, first, last)
        assert text == plain_lines(INDPTR, NEIGHBORS, weights, first, last)


def test_lines_of_a_random_graph():
    draw = np.random.default_rng(0)
    indptr = np.concatenate(([0], np.cumsum(draw.integers(0, 50, 200))))
    neighbors = draw.integers(0, 2**31 - 2, indptr[-1]).astype(np.int32)
    weights = draw.integers(1, 2**62, 200)
    text = _kernels.metis_lines(indptr, neighbors, weights, 0, 200)
    assert text == plain_lines(indptr, neighbors.astype(np.int64), weights, 0, 200)


@pytest.mark.parametrize(("first", "last"), [(-1, 2), (3, 2), (0, 5)])
def test_lines_outside_the_graph_are_refused(first, last):
    with pytest.raises(ValueError, match=r"vertices must be in \[0, 4\), got"):
        _kernels.metis_lines(INDPTR, NEIGHBORS, np.ones(4, dtype=np.int64), first, last)


def cut(adjacency: Adjacency, scratch: Path, num_threads: int = 1) -> np.ndarray:
    part, peak_memory_bytes = mtkahypar.cut_with_mtkahypar(
        adjacency,
        np.ones((adjacency.num_vertices, 1), dtype=np.int32),
        2,
        seed=3,
        imbalance=1.05,
        scratch=scratch,
        num_threads=num_threads,
    )
    assert peak_memory_bytes > 0
    return part


def ring_of_chords(size: int) -> Adjacency:
    near = (np.arange(size)[:, None] + np.array([-7, -1, 1, 7])) % size
    indptr = np.arange(0, 4 * size + 1, 4)
    return Adjacency(indptr, np.sort(near, axis=1).reshape(-1))


def test_threads_do_not_change_the_cut(tmp_path):
    graph = ring_of_chords(3000)
    cuts = [cut(graph, tmp_path, num_threads) for num_threads in (1, 2, 2)]
    assert np.bincount(cuts[0]).max() <= 1.05 * 1500
    assert cuts[0].tolist() == cuts[1].tolist() == cuts[2].tolist()


def test_the_peak_is_that_of_the_partitioner_alone(tmp_path):
    held = np.ones(1 << 25)  # 256 MiB that the partitioner's process does not hold
    graph = ring_of_chords(100)
    weights = np.ones((100, 1), dtype=np.int32)
    _, peak_memory_bytes = mtkahypar.cut_with_mtkahypar(
        graph, weights, 2, seed=3, imbalance=1.05, scratch=tmp_path, num_threads=1
    )
    assert 0 < peak_memory_bytes < held.nbytes


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(mtkahypar, "find_spec", lambda name: None)
    with pytest.raises(GnnflowError, match=r"pip install 'gnnflow\[mtkahypar\]'"):
        cut(ring_of_chords(10), tmp_path)


def test_too_many_entries_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(mtkahypar, "_INT32_MAX", 39)
    with pytest.raises(DataError, match="counts to 39, and this graph has 40"):
        cut(ring_of_chords(10), tmp_path)


def test_a_crash_is_an_error(tmp_path, monkeypatch):
    script = tmp_path / "crash.py"
    script.write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.setattr(mtkahypar, "_SCRIPT", script)
    with pytest.raises(GnnflowError, match="Mt-KaHyPar ended with signal 9") as raised:
        cut(ring_of_chords(10), tmp_path)
    assert solver_process.REMEDY in str(raised.value)
