"""Who am I, and how rows and samples move between ranks."""

from gnnflow.comm.context import DEFAULT_TIMEOUT_S, Context, Transport
from gnnflow.comm.start import init

__all__ = [
    "DEFAULT_TIMEOUT_S",
    "Context",
    "Transport",
    "init",
]
