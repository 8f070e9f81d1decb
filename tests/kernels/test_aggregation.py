import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from gnnflow import _kernels


def adjacency(num_rows, num_columns, num_edges, seed=0):
    """A CSR with repeated entries, empty rows and one row with a tenth of all entries."""
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.zipf(1.5, num_edges) % max(num_rows, 1))
    rows[: num_edges // 10] = 0
    rows.sort()
    indptr = np.zeros(num_rows + 1, dtype=np.int64)
    np.cumsum(np.bincount(rows, minlength=num_rows), out=indptr[1:])
    return indptr, rng.integers(0, max(num_columns, 1), num_edges)


def as_scipy(indptr, src, num_columns, mean=False):
    weights = np.ones(len(src))
    if mean:
        lengths = np.diff(indptr)
        weights /= np.repeat(lengths, lengths)
    return scipy.sparse.csr_array((weights, src, indptr), shape=(len(indptr) - 1, num_columns))


@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize("dim", [0, 1, 3, 15, 16, 17, 47, 64, 100, 128, 130, 602])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_forward_and_backward_are_those_of_scipy(dtype, dim, mean):
    indptr, src = adjacency(300, 500, 4000)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((500, dim)).astype(dtype)
    grad = rng.standard_normal((300, dim)).astype(dtype)
    matrix = as_scipy(indptr, src, 500, mean)
    tolerance = (
        {"rtol": 1e-4, "atol": 1e-4} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-12}
    )
    transposed_indptr, transposed_dst, _ = _kernels.transpose_csr(indptr, src, 500)
    for num_threads in (1, 2, 4):
        out = np.full((300, dim), np.nan, dtype)
        _kernels.spmm(out, indptr, src, x, mean, num_threads)
        np.testing.assert_allclose(out, matrix @ x.astype(float), **tolerance)
        back = np.full((500, dim), np.nan, dtype)
        _kernels.spmm_backward(
            back, transposed_indptr, transposed_dst, grad, indptr if mean else None, num_threads
        )
        np.testing.assert_allclose(back, matrix.T @ grad.astype(float), **tolerance)


def test_threads_do_not_change_a_bit():
    indptr, src = adjacency(5000, 8000, 60000)
    x = np.random.default_rng(2).standard_normal((8000, 70)).astype(np.float32)
    results = []
    for num_threads in (1, 2, 3, 4):
        out = np.empty((5000, 70), dtype=np.float32)
        _kernels.spmm(out, indptr, src, x, True, num_threads)
        results.append(out)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_the_layers_of_a_minibatch_are_prefixes():
    """The first rows of a subgraph, with the edges they have, are a layer's adjacency."""
    indptr, src = adjacency(300, 500, 4000)
    x = np.random.default_rng(3).standard_normal((500, 8))
    whole, part = np.empty((300, 8)), np.empty((100, 8))
    _kernels.spmm(whole, indptr, src, x)
    _kernels.spmm(part, indptr[:101], src[: indptr[100]], x)
    np.testing.assert_array_equal(whole[:100], part)


def assert_transposed(indptr, src, num_sources, num_threads):
    result = _kernels.transpose_csr(indptr, src, num_sources, num_threads)
    transposed_indptr, transposed_dst, permutation = result
    destination = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    order = np.argsort(src, kind="stable")
    np.testing.assert_array_equal(permutation, order)
    np.testing.assert_array_equal(transposed_dst, destination[order])
    np.testing.assert_array_equal(
        np.diff(transposed_indptr), np.bincount(src, minlength=num_sources)
    )
    assert transposed_indptr[0] == 0


@pytest.mark.parametrize("num_threads", [1, 2, 4])
def test_transposing_is_a_stable_sort_by_source(num_threads):
    assert_transposed(*adjacency(3000, 5000, 100_000), 5000, num_threads)
    assert_transposed(*adjacency(3, 2, 70_000), 2, num_threads)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_transposing_any_small_adjacency(data):
    lengths = data.draw(st.lists(st.integers(0, 5), max_size=8))
    num_sources = data.draw(st.integers(1, 6))
    size = sum(lengths)
    src = data.draw(st.lists(st.integers(0, num_sources - 1), min_size=size, max_size=size))
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    assert_transposed(indptr, np.array(src, dtype=np.int64), num_sources, 2)


def test_nothing_to_sum():
    indptr, src = np.zeros(4, dtype=np.int64), np.empty(0, dtype=np.int64)
    out = np.full((3, 5), np.nan)
    _kernels.spmm(out, indptr, src, np.empty((0, 5)), mean=True)
    assert (out == 0).all()
    _kernels.spmm(np.empty((0, 5)), indptr[:1], src, np.empty((2, 5)))
    assert [len(a) for a in _kernels.transpose_csr(indptr, src, 0)] == [1, 0, 0]


def test_bad_arguments():
    indptr, src = np.array([0, 2, 3]), np.array([0, 1, 4])
    x, out = np.zeros((5, 8)), np.empty((2, 8))
    with pytest.raises(ValueError, match=r"indices must be in \[0, 4\), got 4"):
        _kernels.spmm(out, indptr, src, x[:4])
    with pytest.raises(ValueError, match=r"src must be in \[0, 4\), got 4"):
        _kernels.transpose_csr(indptr, src, 4)
    with pytest.raises(ValueError, match="num_sources must not be negative, got -1"):
        _kernels.transpose_csr(indptr, src, -1)
    for bad in ([0, 2, 4], [1, 2, 3], [0, 4, 3]):
        with pytest.raises(ValueError, match="indptr must ascend from 0 to the number of edges 3"):
            _kernels.spmm(out, np.array(bad), src, x)
    with pytest.raises(ValueError, match="indptr must have at least one entry"):
        _kernels.spmm(out, indptr[:0], src, x)
    with pytest.raises(ValueError, match=r"out must have the shape \[2, 8\], got \[3, 8\]"):
        _kernels.spmm(np.empty((3, 8)), indptr, src, x)
    with pytest.raises(ValueError, match="x must be a contiguous matrix of float32 or float64"):
        _kernels.spmm(out, indptr, src, x.astype(np.float32))
    with pytest.raises(ValueError, match="out must be a contiguous matrix"):
        _kernels.spmm(np.empty((2, 8), dtype=np.int64), indptr, src, x)
    with pytest.raises(ValueError, match="x must be a contiguous matrix"):
        _kernels.spmm(out, indptr, src, np.zeros((5, 16))[:, ::2])
    with pytest.raises(ValueError, match="mean_indptr must have one entry more than grad has rows"):
        _kernels.spmm_backward(x, np.zeros(6, dtype=np.int64), src[:0], out, indptr[:2])
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out must be writeable"):
        _kernels.spmm(out, indptr, src, x)


@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("num_edges", [0, 1, 100_000])
def test_edge_index_names_the_row_of_every_entry(num_edges, num_threads):
    indptr, src = adjacency(2000, 500, num_edges)
    edge_index = _kernels.edge_index(indptr, src, num_threads)
    assert edge_index.shape == (2, num_edges)
    np.testing.assert_array_equal(edge_index[0], src)
    np.testing.assert_array_equal(edge_index[1], np.repeat(np.arange(2000), np.diff(indptr)))
