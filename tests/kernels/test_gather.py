import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnnflow import _kernels

ROW_BYTES = (
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    12,
    16,
    24,
    63,
    64,
    65,
    128,
    200,
    256,
    512,
    1000,
    1024,
    2048,
    4096,
)


def random_rows(num_rows, row_bytes, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (num_rows, row_bytes), dtype=np.uint8)


def sentinel(num_rows, row_bytes):
    """An output inside a larger array, whose border must stay as it is."""
    whole = np.full(num_rows * row_bytes + 128, 77, dtype=np.uint8)
    begin = 64
    return whole, whole[begin : begin + num_rows * row_bytes].reshape(num_rows, row_bytes)


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("row_bytes", ROW_BYTES)
def test_one_source_is_numpy_take(row_bytes, num_threads):
    source = random_rows(300, row_bytes)
    source.flags.writeable = False
    rows = np.random.default_rng(1).integers(0, 300, 2000)
    whole, out = sentinel(2000, row_bytes)
    _kernels.gather(out, source, rows, num_threads)
    np.testing.assert_array_equal(out, np.take(source, rows, axis=0))
    assert (whole[:64] == 77).all() and (whole[-64:] == 77).all()


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("row_bytes", ROW_BYTES)
def test_three_sources(row_bytes, num_threads):
    rng = np.random.default_rng(2)
    sources = [random_rows(size, row_bytes, seed=size) for size in (50, 1, 700)]
    source_of = rng.integers(0, 3, 3000).astype(np.uint8)
    row_of = rng.integers(0, np.array([50, 1, 700])[source_of])
    out = np.empty((3000, row_bytes), dtype=np.uint8)
    _kernels.gather_rows(out, sources, source_of, row_of, num_threads)
    stacked = np.concatenate(sources)
    np.testing.assert_array_equal(out, stacked[np.array([0, 50, 51])[source_of] + row_of])


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("num_parts", [1, 3, 12])
@pytest.mark.parametrize("row_bytes", [0, 4, 100, 128, 512])
def test_rows_by_global_id(row_bytes, num_parts, num_threads):
    rng = np.random.default_rng(num_parts)
    sizes = rng.integers(0, 400, num_parts)
    sizes[0] = 5
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    # The first source is not the first part's, as on any rank but the first.
    source_of_part = np.roll(np.arange(num_parts, dtype=np.uint8), 1)
    parts = [random_rows(size, row_bytes, seed=int(size)) for size in sizes]
    sources = [parts[int(np.flatnonzero(source_of_part == i)[0])] for i in range(num_parts)]
    ids = rng.integers(0, offsets[-1], 5000)
    out = np.empty((len(ids), row_bytes), dtype=np.uint8)
    counts = _kernels.gather_ids(out, sources, source_of_part, offsets, ids, num_threads)
    np.testing.assert_array_equal(out, np.concatenate(parts)[ids])
    owner = np.searchsorted(offsets, ids, side="right") - 1
    assert counts == np.bincount(source_of_part[owner], minlength=num_parts).tolist()


def test_global_ids_that_have_no_row():
    offsets, at_hand = np.array([0, 3, 5]), np.array([0, 255], dtype=np.uint8)
    source, out = random_rows(3, 8), np.empty((2, 8), dtype=np.uint8)
    for wrong in (-1, 5):
        with pytest.raises(ValueError, match=rf"in \[0, 5\), got {wrong}"):
            _kernels.gather_ids(out, [source], at_hand, offsets, np.array([0, wrong]))
    with pytest.raises(ValueError, match="source_of must be below the number of sources"):
        _kernels.gather_ids(out, [source], at_hand, offsets, np.array([0, 3]))
    with pytest.raises(ValueError, match="one entry more than source_of_part"):
        _kernels.gather_ids(out, [source], at_hand, offsets[:2], np.array([0, 1]))
    with pytest.raises(ValueError, match="expected 1, got 2"):
        _kernels.gather_ids(out, [source], at_hand, offsets, np.array([0]))


@pytest.mark.parametrize("row_bytes", [64, 100, 512, 4096])
@pytest.mark.parametrize("offset", [0, 16])
def test_outputs_larger_than_the_caches(row_bytes, offset):
    """Such outputs are written past the caches if they are aligned."""
    num_rows = (12 << 20) // row_bytes
    source = random_rows(500, row_bytes)
    rows = np.random.default_rng(3).integers(0, 500, num_rows)
    memory = np.empty(num_rows * row_bytes + 128, dtype=np.uint8)
    begin = -memory.ctypes.data % 64 + offset
    out = memory[begin : begin + num_rows * row_bytes].reshape(num_rows, row_bytes)
    _kernels.gather(out, source, rows, 2)
    np.testing.assert_array_equal(out, source[rows])


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_any_rows_of_any_sources(data):
    shape = tuple(data.draw(st.lists(st.integers(0, 5), max_size=2)))
    dtype = data.draw(st.sampled_from([np.int8, np.float16, np.float32, np.int64, np.complex128]))
    sizes = data.draw(st.lists(st.integers(1, 8), min_size=1, max_size=4))
    rng = np.random.default_rng(0)
    sources = [rng.integers(0, 100, (size, *shape)).astype(dtype) for size in sizes]
    place = st.integers(0, len(sizes) - 1).flatmap(
        lambda source: st.tuples(st.just(source), st.integers(0, sizes[source] - 1))
    )
    places = data.draw(st.lists(place, max_size=40))
    out = np.empty((len(places), *shape), dtype=dtype)
    _kernels.gather_rows(
        out,
        sources,
        np.array([source for source, _ in places], dtype=np.uint8),
        np.array([row for _, row in places], dtype=np.int64),
        data.draw(st.integers(1, 3)),
    )
    for i, (source, row) in enumerate(places):
        np.testing.assert_array_equal(out[i], sources[source][row])


def test_labels_and_memory_maps(tmp_path):
    labels = np.random.default_rng(0).integers(0, 40, 1000)
    np.save(tmp_path / "y.npy", labels)
    mapped = np.load(tmp_path / "y.npy", mmap_mode="r")
    rows = np.random.default_rng(1).permutation(1000)
    out = np.empty(1000, dtype=np.int64)
    _kernels.gather(out, mapped, rows)
    np.testing.assert_array_equal(out, labels[rows])


def test_no_rows_and_no_sources():
    none = np.empty(0, dtype=np.int64)
    _kernels.gather(np.empty((0, 4)), np.empty((0, 4)), none)
    _kernels.gather_rows(np.empty((0, 4)), [], none.astype(np.uint8), none)


def test_int32_rows():
    source = random_rows(10, 8)
    out = np.empty((3, 8), dtype=np.uint8)
    _kernels.gather(out, source, np.array([9, 0, 9], dtype=np.int32))
    np.testing.assert_array_equal(out, source[[9, 0, 9]])


@pytest.mark.parametrize("bad", [-1, 10, 1 << 40])
def test_rows_out_of_range(bad):
    source, out = random_rows(10, 8), np.empty((3, 8), dtype=np.uint8)
    with pytest.raises(ValueError, match=rf"rows of source 0 must be in \[0, 10\), got {bad}"):
        _kernels.gather(out, source, np.array([0, bad, 1]))


def test_sources_out_of_range():
    source, out = random_rows(10, 8), np.empty((1, 8), dtype=np.uint8)
    with pytest.raises(ValueError, match="source_of must be below the number of sources 1, got 1"):
        _kernels.gather_rows(out, [source], np.array([1], dtype=np.uint8), np.array([0]))


def test_arrays_that_do_not_fit():
    source, rows = random_rows(10, 8), np.array([1, 2])
    out = np.empty((2, 8), dtype=np.uint8)
    with pytest.raises(ValueError, match="out must have one row per row asked for: expected 2"):
        _kernels.gather(out[:1], source, rows)
    with pytest.raises(ValueError, match="source 0 must have rows of 8 bytes like out, got 7"):
        _kernels.gather(out, random_rows(10, 7), rows)
    with pytest.raises(ValueError, match="source 0 must be contiguous with rows first"):
        _kernels.gather(out, random_rows(10, 16)[:, ::2], rows)
    with pytest.raises(ValueError, match="out must be contiguous"):
        _kernels.gather(np.empty((2, 16), dtype=np.uint8)[:, :8], source, rows)
    with pytest.raises(ValueError, match="rows must hold integers, got float64"):
        _kernels.gather(out, source, rows.astype(float))
    with pytest.raises(ValueError, match="source_of must be a contiguous .* array of uint8"):
        _kernels.gather_rows(out, [source], np.array([0, 0]), rows)
    with pytest.raises(ValueError, match="must have the same length, got 1 and 2"):
        _kernels.gather_rows(out, [source], np.zeros(1, dtype=np.uint8), rows)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out must be writeable"):
        _kernels.gather(out, source, rows)
