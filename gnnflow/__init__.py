"""Distributed training of graph neural networks with built-in prefetching of remote features.

The names below are what programs use; each is imported when it is first asked for, so that
`import gnnflow` costs nothing and one process never loads MPI.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gnnflow.comm import Context, init
    from gnnflow.config import PartitionConfig, TrainConfig
    from gnnflow.errors import GnnflowError
    from gnnflow.graph import DistGraph
    from gnnflow.loader import DistLinkNeighborLoader, DistNeighborLoader
    from gnnflow.training import SyncBatchNorm, wrap

__all__ = [
    "Context",
    "DistGraph",
    "DistLinkNeighborLoader",
    "DistNeighborLoader",
    "GnnflowError",
    "PartitionConfig",
    "SyncBatchNorm",
    "TrainConfig",
    "__version__",
    "init",
    "wrap",
]
__version__ = "0.1.0"

_HOMES = {
    "Context": "gnnflow.comm",
    "DistGraph": "gnnflow.graph",
    "DistLinkNeighborLoader": "gnnflow.loader",
    "DistNeighborLoader": "gnnflow.loader",
    "GnnflowError": "gnnflow.errors",
    "PartitionConfig": "gnnflow.config",
    "SyncBatchNorm": "gnnflow.training",
    "TrainConfig": "gnnflow.config",
    "init": "gnnflow.comm",
    "wrap": "gnnflow.training",
}


def __getattr__(name: str) -> Any:
    """Imports a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'gnnflow' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Lists the public names."""
    return __all__
