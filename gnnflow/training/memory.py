"""How this process manages memory while it trains."""

import ctypes
import sys

_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4
_TOP_PAD_BYTES = 64 << 20
_NEVER_BYTES = (1 << 31) - 1


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
