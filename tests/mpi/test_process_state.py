"""Tests that share a process: what one of them changes, the next one does not see."""

import os
import random
import warnings

import numpy as np
import pytest
import torch
from process_state import process_state_restored

VARIABLE = "GNNFLOW_TEST_LEFT_BEHIND"


def spoil() -> None:
    """Changes all that a test may leave behind."""
    os.environ[VARIABLE] = "1"
    del os.environ["PATH"]
    warnings.simplefilter("ignore")
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.use_deterministic_algorithms(True)
    torch.set_grad_enabled(False)


def state() -> list[object]:
    return [
        dict(os.environ),
        warnings.filters[:],
        random.getstate(),
        str(np.random.get_state()),
        torch.get_rng_state().tolist(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_grad_enabled(),
    ]


@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_put_back(fails):
    before = state()
    try:
        with process_state_restored():
            spoil()
            spoiled = state()
            assert not fails
    except AssertionError:
        assert fails
    assert state() == before
    assert all(new != old for new, old in zip(spoiled, before, strict=True))


@pytest.mark.mpi(1, 2)
@pytest.mark.parametrize("time", ["first", "second"])
def test_no_test_sees_what_another_left(time):
    assert VARIABLE not in os.environ
    assert torch.get_default_dtype() == torch.float32
    spoil()
