import math

import pytest

from benchmarks.soak import growth_bytes, largest_step_bytes


def test_a_leak_is_told_from_a_step():
    minibatches = range(100, 10_100, 100)
    flat = [(num, 1_000_000) for num in minibatches]
    step = [(num, 1_000_000 + 500_000 * (num > 9_000)) for num in minibatches]
    leak = [(num, 1_000_000 + 8 * num) for num in minibatches]
    assert growth_bytes(flat) == 0 and largest_step_bytes(flat) == 0
    assert growth_bytes(step) == 0 and largest_step_bytes(step) == 500_000
    # A job that ended before anything was seen.
    assert math.isnan(growth_bytes([])) and largest_step_bytes([]) == 0
    assert growth_bytes(leak) == pytest.approx(8 * 7_500)
