"""How much memory this process holds.

Solvers that run as programs of their own read it themselves: they do not import gnnflow.
"""

import resource
import sys
from pathlib import Path


def _status_bytes(field: str) -> int | None:
    """A field of Linux's /proc/self/status."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field)), None)


def peak_memory_bytes() -> int:
    """Returns the largest resident memory of this process so far, mapped file pages included."""
    peak = _status_bytes("VmHWM:")
    if peak is not None:
        return peak
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes


def own_memory_bytes() -> int:
    """Returns the resident memory of this process now, without file pages where that is known."""
    held = _status_bytes("RssAnon:")
    return peak_memory_bytes() if held is None else held
