"""Rows on a device: what is gathered there, and when a staging buffer serves again."""

import numpy as np
import pytest
import torch

from gnnflow.cache.halo_cache import HaloCache
from gnnflow.cache.scorers import LruScorer
from gnnflow.cache.vertex_values import VertexValues
from gnnflow.features import DistFeatureStore
from gnnflow.prefetch.device_rows import DeviceRows, StagingBuffers

NUM_OWN, NUM_VERTICES = 40, 100
DTYPES = ["float32", "float16", "uint16", "uint8", "int64", "float64"]


def make_rows(dtype, shape):
    values = np.random.default_rng(3).integers(0, 200, (NUM_VERTICES, *shape))
    return np.ascontiguousarray(values.astype(dtype))


def make_store(rows):
    offsets = np.array([0, NUM_OWN, NUM_VERTICES])
    return DistFeatureStore("x", offsets=offsets, sources=[(0, rows[:NUM_OWN])], num_threads=1)


def check(device, dtype="float32", shape=(3,)):
    """Gathers minibatches; every third is given up, after which the cache has to know its rows."""
    rows = make_rows(dtype, shape)
    store = make_store(rows)
    cache = HaloCache(12, LruScorer(), row_shape=shape, dtype=dtype)
    cache.fill(VertexValues(np.arange(50, 56), np.ones(6, dtype=np.float32)), rows.__getitem__)
    assert cache.rows_bytes > 0
    on_device = DeviceRows(store, device, cache)
    assert cache.rows_bytes == 0 and cache.books().num_cached == 6
    cache.fill(VertexValues(np.arange(60, 62), np.ones(2, dtype=np.float32)), rows.__getitem__)
    rng = np.random.default_rng(5)
    kept, rows_hit = [], 0
    for number in range(60):
        # More towards the low ids, and sometimes none at all.
        drawn = (NUM_VERTICES * rng.random(rng.integers(0, 40)) ** 0.5).astype(np.int64)
        vertices = rng.permutation(np.unique(drawn))
        plan = store.plan(vertices)
        step = cache.plan(vertices[plan.remote_positions])
        fetched = rows[step.fetch_ids]
        if number % 3:
            x = on_device.gather(plan, plan.remote_positions, step, fetched)
            assert x.device.type == device.type and x.dtype == torch.from_numpy(rows[:0]).dtype
            kept.append((x, rows[vertices]))
        on_device.admit(step, fetched)
        cache.commit(step)
        rows_hit += step.rows_hit
        fetched.fill(0)
    assert rows_hit > 50 and cache.counts.num_evicted > 50
    # Compared at the end, when nothing may have been overwritten.
    for x, expected in kept:
        assert np.array_equal(x.cpu().numpy(), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_are_those_of_the_vertices(dtype):
    check(torch.device("cpu"), dtype)


@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_rows_of_any_shape(shape):
    check(torch.device("cpu"), shape=shape)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", DTYPES)
def test_on_a_gpu(dtype):
    check(torch.device("cuda"), dtype)


def test_a_buffer_serves_again_once_its_copy_is_done():
    done = []

    class Fence:
        def __init__(self, number):
            self.number = number

        def synchronize(self):
            done.append(self.number)

    numbers = iter(range(10))
    buffers = StagingBuffers(lambda: Fence(next(numbers)), pin_memory=False)
    places = []
    for num_bytes in (100, 100, 100, 50, 1000):
        buffer = buffers.take(num_bytes)
        assert buffer.numel() == num_bytes
        places.append(buffer.data_ptr())
        buffers.copy_begun()
    # The third is the first again, and so on.
    assert done == [0, 1, 2]
    assert places[0] == places[2] != places[1] == places[3]
    assert buffers.num_bytes >= 1100
    # What is taken and never copied leaves nothing to wait for.
    buffers.take(10)
    buffers.take(10)
    buffers.take(10)
    assert done == [0, 1, 2, 3, 4]
