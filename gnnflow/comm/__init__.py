"""Who am I, and how rows and samples move between ranks."""

from gnnflow.comm.context import Context
from gnnflow.comm.start import init
from gnnflow.config import DEFAULT_TIMEOUT_S, Transport

__all__ = [
    "DEFAULT_TIMEOUT_S",
    "Context",
    "Transport",
    "init",
]
