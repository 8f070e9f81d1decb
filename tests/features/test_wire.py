import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from gnnflow import _kernels
from gnnflow.errors import ConfigError
from gnnflow.features.wire import Wire

BFLOAT16, INT8 = 1, 2
floats = npst.arrays(
    np.float32,
    npst.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)


def through(table: np.ndarray, code: int, num_threads: int = 1) -> np.ndarray:
    """Sends all rows of a table, last row first, and puts them back in order."""
    wire = Wire(code)
    order = np.arange(len(table))[::-1].copy()
    sent = np.empty((len(table), wire.row_bytes(table.shape[1] * 4)), dtype=np.uint8)
    wire.gather(sent, table, order, num_threads)
    out = np.full_like(table, 7)
    wire.place(out, order, sent, num_threads)
    return out


@settings(max_examples=60, deadline=None)
@given(floats)
def test_bfloat16_is_the_nearest(table: np.ndarray) -> None:
    received = through(table, BFLOAT16)
    bits = received.view(np.uint32)
    assert not (bits & 0xFFFF).any()
    finite = np.isfinite(received)  # what is too large rounds to infinity
    step = np.spacing(np.abs(received)) * 2.0**16
    error = np.abs(received.astype(np.float64) - table)
    assert (error[finite] <= step[finite] / 2).all()
    np.testing.assert_array_equal(through(received, BFLOAT16), received)


@settings(max_examples=60, deadline=None)
@given(floats.map(lambda table: table / 2))  # the largest number may round up to infinity
def test_int8_errs_by_half_a_step(table: np.ndarray) -> None:
    received = through(table, INT8)
    scale = np.abs(table).max(axis=1, keepdims=True).astype(np.float64) / 127
    error = np.abs(received.astype(np.float64) - table)
    tiny = np.finfo(np.float32).tiny * 64  # numbers that have few bits themselves
    assert (error <= np.maximum(scale * (0.5 + 1e-4), tiny)).all()


def test_what_is_no_number_stays_so() -> None:
    table = np.array([[1, np.nan, 2], [np.inf, 1, -np.inf], [0, -0.0, 3]], dtype=np.float32)
    received = through(table, BFLOAT16)
    np.testing.assert_array_equal(received, table)
    assert np.signbit(received[2, 1])
    received = through(table, INT8)
    assert np.isnan(received[:2]).all()
    np.testing.assert_allclose(received[2], [0, 0, 3], rtol=1e-6)
    zeros = np.zeros((2, 5), dtype=np.float32)
    np.testing.assert_array_equal(through(zeros, INT8), zeros)


@pytest.mark.parametrize("code", [BFLOAT16, INT8])
def test_threads_change_nothing(code: int) -> None:
    table = np.random.default_rng(0).standard_normal((5000, 33), dtype=np.float32)
    np.testing.assert_array_equal(through(table, code, 3), through(table, code, 1))


def test_what_is_converted() -> None:
    for shape, dtype, code in (
        ((4,), np.float32, 1),
        ((2, 2), np.float32, 1),
        ((), np.float32, 0),
        ((4,), np.float16, 0),
        ((4,), np.int64, 0),
    ):
        assert Wire.choose("bfloat16", np.dtype(dtype), shape).code == code
    assert Wire.choose("stored", np.dtype(np.float32), (4,)).code == 0
    with pytest.raises(ConfigError, match="one of stored, bfloat16, int8, got 'float8'"):
        Wire.choose("float8", np.dtype(np.float32), (4,))
    assert [Wire(code).row_bytes(400) for code in (0, 1, 2)] == [400, 200, 104]


def test_bad_values() -> None:
    table = np.zeros((3, 4), dtype=np.float32)
    rows = np.zeros(2, dtype=np.int64)
    good = np.zeros((2, 8), dtype=np.uint8)
    with pytest.raises(ValueError, match="2 rows of 8 bytes, got 2 rows of 9"):
        _kernels.encode_rows(np.zeros((2, 9), dtype=np.uint8), table, rows, BFLOAT16)
    with pytest.raises(ValueError, match=r"in \[0, 3\), got 3"):
        _kernels.encode_rows(good, table, rows + 3, BFLOAT16)
    with pytest.raises(ValueError, match=r"in \[0, 3\), got -1"):
        _kernels.decode_rows(table, rows - 1, good, BFLOAT16)
    with pytest.raises(ValueError, match="source must be float32, got float64"):
        _kernels.encode_rows(good, table.astype(np.float64), rows, BFLOAT16)
    with pytest.raises(ValueError, match="format must be 1"):
        _kernels.encode_rows(good, table, rows, 3)
