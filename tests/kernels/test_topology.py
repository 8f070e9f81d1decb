import gc
import weakref

import numpy as np
import pytest

from gnnflow import _kernels

INDPTR, INDICES = np.array([0, 2, 2, 3]), np.array([1, 2, 0])


def test_sizes():
    topology = _kernels.Topology(np.array([0, 3, 3, 7]))
    assert topology.num_parts == 3
    assert topology.num_vertices == 7


@pytest.mark.parametrize("offsets", [[], [0], [1, 2], [0, 5, 3]])
def test_bad_offsets(offsets):
    with pytest.raises(ValueError, match="offsets must be ascending and start at 0"):
        _kernels.Topology(np.array(offsets, dtype=np.int64))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((INDPTR[:3], INDICES), "part 0 has 3 vertices by its offsets, .* got 3"),
        ((INDPTR, INDICES[:2]), "indptr must run from 0 to the number of indices 2, got 0 to 3"),
        ((INDPTR + 1, INDICES), "indptr must run from 0 to the number of indices 3, got 1 to 4"),
        ((INDPTR[:0], INDICES), "indptr must have at least one entry"),
        ((INDPTR.astype(np.int32), INDICES), "indptr must be a contiguous .* array of int64"),
        ((INDPTR, INDICES.astype(np.uint32)), "indices must be a contiguous .* array of int64"),
        ((INDPTR, np.repeat(INDICES, 2)[::2]), "indices must be a contiguous"),
        ((INDPTR, INDICES, np.arange(2)), "original_id must have one entry per vertex"),
        ((INDPTR, INDICES, None, np.arange(2)), "edge_id must have one entry per edge"),
    ],
)
def test_bad_parts(arrays, message):
    topology = _kernels.Topology(np.array([0, 3, 5]))
    with pytest.raises(ValueError, match=message):
        topology.set_part(0, *arrays)
    assert not topology.is_local(np.arange(5)).any()


def test_bad_part_number():
    topology = _kernels.Topology(np.array([0, 3, 5]))
    with pytest.raises(ValueError, match=r"part must be in \[0, 2\), got 2"):
        topology.set_part(2, INDPTR, INDICES)


@pytest.mark.parametrize("ids", [[3, 2, 4], [2, 2, 3]])
def test_halo_vertices_are_sorted_and_unique(ids):
    topology = _kernels.Topology(np.array([0, 3, 6]))
    with pytest.raises(ValueError, match="vertex_ids must be sorted and unique"):
        topology.set_halo(np.array(ids), INDPTR, INDICES, np.arange(3))
    with pytest.raises(ValueError, match="indptr must have one entry more than vertex_ids"):
        topology.set_halo(np.array([4, 5]), INDPTR, INDICES, np.arange(3))


@pytest.mark.parametrize(
    ("indptr", "indices"),
    [
        ([0, 5, 1, 3], [1, 2, 0]),
        ([0, -1, 1, 3], [1, 2, 0]),
        ([0, 2, 2, 3], [1, 3, 0]),
        ([0, 2, 2, 3], [1, -1, 0]),
    ],
)
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_a_damaged_part_raises_and_never_reads_beyond_its_arrays(indptr, indices, dtype):
    topology = _kernels.Topology(np.array([0, 3]))
    topology.set_part(0, np.array(indptr), np.array(indices, dtype=dtype))
    with pytest.raises(ValueError, match="check the partition with --verify"):
        _kernels.NeighborSampler(topology).sample(np.arange(3), [-1], 0, 0, 0)


class Owned(np.ndarray):
    """An array that can be watched."""


def test_arrays_live_as_long_as_the_topology():
    indices = INDICES.copy().view(Owned)
    watch = weakref.ref(indices)
    topology = _kernels.Topology(np.array([0, 3]))
    topology.set_part(0, INDPTR, indices)
    sampler = _kernels.NeighborSampler(topology)
    del indices, topology
    gc.collect()
    assert watch() is not None
    sample = sampler.sample(np.array([0]), [-1], 0, 0, 0)
    assert sample.vertices.tolist() == [0, 1, 2]
    del sampler
    gc.collect()
    assert watch() is None


def test_a_part_can_be_set_again():
    topology = _kernels.Topology(np.array([0, 3]))
    topology.set_part(0, INDPTR, INDICES)
    topology.set_part(0, np.array([0, 0, 0, 1]), np.array([2], dtype=np.int32))
    sample = _kernels.NeighborSampler(topology).sample(np.arange(3), [-1], 0, 0, 0)
    assert sample.indptr.tolist() == [0, 0, 0, 1]


def test_edges_without_ids_are_numbered():
    topology = _kernels.Topology(np.array([0, 3, 5]))
    topology.set_part(0, INDPTR, INDICES, first_edge=100)
    topology.set_part(1, np.array([0, 0, 2]), np.array([4, 0]), first_edge=103)
    sample = _kernels.NeighborSampler(topology).sample(
        np.array([2, 4]), [-1, -1], 0, 0, 0, False, True
    )
    assert sample.edge_ids.tolist() == [102, 103, 104, 100, 101]
