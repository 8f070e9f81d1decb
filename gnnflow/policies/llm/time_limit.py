"""A limit of time for templates that others wrote: those can loop for longer than any run."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def time_limit(limit_s: float, what: str) -> Iterator[None]:
    """Ends Python code of this thread that takes too long; a single call into C is not ended.

    Args:
        limit_s: seconds.
        what: what takes so long, as the start of a sentence.

    Raises:
        TimeoutError: if it takes longer.
    """
    deadline = time.monotonic() + limit_s

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} takes longer than {limit_s:g} s")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)
