"""What one test may change for the next one in its process, and puts back."""

import contextlib
import os
import random
import sys
import warnings
from collections.abc import Iterator

import numpy as np


@contextlib.contextmanager
def process_state_restored() -> Iterator[None]:
    """Puts back variables of the environment, filters of warnings, generators and torch's settings.

    Where torch is not loaded yet, it has no settings that anybody changed.
    """
    environment = dict(os.environ)
    filters = warnings.filters[:]
    python, numpy = random.getstate(), np.random.get_state()
    torch = sys.modules.get("torch")
    if torch is not None:
        generator, threads = torch.get_rng_state(), torch.get_num_threads()
        dtype, strict = torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()
        gradients = torch.is_grad_enabled()
    try:
        yield
    finally:
        for name in set(os.environ) - set(environment):
            del os.environ[name]
        for name, value in environment.items():
            if os.environ.get(name) != value:
                os.environ[name] = value
        if warnings.filters != filters:
            # An assignment of another list would not be noticed by what is in C.
            warnings.resetwarnings()
            warnings.filters[:] = filters
        random.setstate(python)
        np.random.set_state(numpy)
        if torch is not None:
            torch.set_rng_state(generator)
            torch.set_default_dtype(dtype)
            torch.use_deterministic_algorithms(strict)
            torch.set_grad_enabled(gradients)
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
