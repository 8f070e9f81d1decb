"""How much memory this process holds, and that it uses again what it freed.

Solvers that run as programs of their own read it themselves: they do not import gnnflow.
"""

import ctypes
import resource
import sys
from pathlib import Path

_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4
_TOP_PAD_BYTES = 64 << 20
_NEVER_BYTES = (1 << 31) - 1


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


def keep_freed_memory() -> bool:
    """Makes the C library reuse freed memory instead of giving it back to the system.

    Every minibatch allocates the same large arrays again. By default each comes as new pages,
    which the system has to clear and map: for large rows that takes longer than computing them.

    Returns:
        Whether it was done; only glibc knows how.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = {
        _M_MMAP_MAX: 0,
        _M_TRIM_THRESHOLD: _NEVER_BYTES,
        _M_TOP_PAD: _TOP_PAD_BYTES,
    }
    return all([mallopt(name, value) == 1 for name, value in settings.items()])


def _status_bytes(field: str) -> int | None:
    """A field of Linux's /proc/self/status."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field)), None)
