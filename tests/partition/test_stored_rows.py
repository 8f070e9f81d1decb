import numpy as np
import pytest
import torch
from raw_graphs import two_clusters

from gnnflow.config import PartitionConfig
from gnnflow.datasets.row_source import ArrayRows
from gnnflow.errors import DataError
from gnnflow.partition import open_partition, partition_graph
from gnnflow.partition.stored_rows import StoredRows, decode_int8


def features(num_rows=50, width=9):
    rng = np.random.default_rng(width)
    x = rng.standard_normal((num_rows, width)) * 10.0 ** rng.integers(-4, 4, (num_rows, 1))
    x[3] = 0
    return x.astype(np.float32)


def test_each_type_is_what_torch_makes_of_it():
    x = features()
    ids = np.array([7, 3, 3, 49, 0])
    halves = StoredRows(ArrayRows(x), "float16").rows(ids)
    np.testing.assert_array_equal(halves, x[ids].astype(np.float16))
    brains = StoredRows(ArrayRows(x), "bfloat16").rows(ids)
    expected = torch.from_numpy(x[ids]).to(torch.bfloat16)
    assert torch.equal(torch.from_numpy(brains).view(torch.bfloat16), expected)
    source = StoredRows(ArrayRows(x), "int8")
    encoded = source.rows(ids)
    assert source.shape == (50, 13) and encoded.shape == (5, 13) and encoded.dtype == source.dtype
    scale = encoded[:, :4].copy().view(np.float32)
    np.testing.assert_array_equal(decode_int8(encoded), encoded[:, 4:].view(np.int8) * scale)
    largest = np.abs(x[ids]).max(axis=1, keepdims=True)
    assert (np.abs(decode_int8(encoded) - x[ids]) <= largest / 253).all()


def test_rows_of_doubles_and_of_none():
    x = features().astype(np.float64)
    for name in ("float16", "bfloat16", "int8"):
        rows = StoredRows(ArrayRows(x), name)
        as_floats = StoredRows(ArrayRows(x.astype(np.float32)), name)
        np.testing.assert_array_equal(rows.rows(np.arange(50)), as_floats.rows(np.arange(50)))
        assert rows.rows(np.arange(0)).shape == (0, *rows.shape[1:])


def test_what_cannot_be_stored_so():
    with pytest.raises(DataError, match="if they are rows of floats, got int64"):
        StoredRows(ArrayRows(np.zeros((3, 2), dtype=np.int64)), "int8")
    with pytest.raises(DataError, match="got float32 .3.; leave out --feature-dtype"):
        StoredRows(ArrayRows(np.zeros(3, dtype=np.float32)), "int8")
    large = StoredRows(ArrayRows(np.full((2, 2), 1e5, dtype=np.float32)), "float16")
    with pytest.raises(DataError, match="beyond float16, which ends at 65504"):
        large.rows(np.arange(2))


@pytest.mark.parametrize(
    ("feature_dtype", "name", "npy_dtype", "extra"),
    [("float16", "float16", "<f2", 0), ("bfloat16", "bfloat16", "<u2", 0)]
    + [("int8", "int8_scaled", "|u1", 4)],
)
def test_a_partition_keeps_them(tmp_path, feature_dtype, name, npy_dtype, extra):
    raw = two_clusters(30)
    config = PartitionConfig(num_parts=2, method="random", feature_dtype=feature_dtype)
    partition_graph(raw, tmp_path / "parts", config)
    rows = StoredRows(raw.arrays["x"], feature_dtype)
    for part_id in range(2):
        part = open_partition(tmp_path / "parts", part_id, verify=True)
        spec = part.manifest.arrays["x"]
        width = raw.arrays["x"].shape[1]
        assert (spec.dtype, spec.npy_dtype) == (name, npy_dtype)
        assert spec.row_shape == (width + extra,)
        np.testing.assert_array_equal(part.arrays["x"], rows.rows(np.asarray(part.original_id)))
        assert part.manifest.arrays["y"].dtype == raw.arrays["y"].dtype.name
