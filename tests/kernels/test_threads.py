"""Kernels called from many threads at once, and in a child process."""

import os
import threading

import numpy as np
import pytest

from gnnflow import _kernels


@pytest.fixture(scope="module")
def graph():
    rng = np.random.default_rng(0)
    indptr = np.arange(0, 200_001, 10)
    return indptr, rng.integers(0, 20_000, 200_000).astype(np.int32)


def topology_of(graph):
    topology = _kernels.Topology(np.array([0, 20_000]))
    topology.set_part(0, *graph)
    return topology


def test_samplers_and_gathers_side_by_side(graph):
    topology = topology_of(graph)
    features = np.random.default_rng(1).random((20_000, 16), dtype=np.float32)
    seeds = np.arange(0, 20_000, 40)
    expected = _kernels.NeighborSampler(topology).sample(seeds, [5, 5], 0, 0, 0)
    failures = []

    def work(number):
        sampler = _kernels.NeighborSampler(topology, 1 + number % 3)
        for _ in range(10):
            sample = sampler.sample(seeds, [5, 5], 0, 0, 0)
            rows = np.empty((len(sample.vertices), 16), dtype=np.float32)
            _kernels.gather(rows, features, sample.vertices, 2)
            if not (
                np.array_equal(sample.vertices, expected.vertices)
                and np.array_equal(sample.src, expected.src)
                and np.array_equal(rows, features[expected.vertices])
            ):
                failures.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_an_error_in_a_helper_reaches_the_caller(graph):
    source, out = np.zeros((10, 8)), np.empty((100_000, 8))
    rows = np.zeros(100_000, dtype=np.int64)
    rows[70_000:] = 11
    for _ in range(20):
        with pytest.raises(ValueError, match=r"rows of source 0 must be in \[0, 10\), got 11"):
            _kernels.gather(out, source, rows, 4)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own(graph):
    seeds = np.arange(0, 20_000, 40)
    expected = _kernels.NeighborSampler(topology_of(graph), 3).sample(seeds, [5, 5], 0, 0, 0)
    child = os.fork()
    if child == 0:
        sample = _kernels.NeighborSampler(topology_of(graph), 3).sample(seeds, [5, 5], 0, 0, 0)
        os._exit(0 if np.array_equal(sample.src, expected.src) else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
