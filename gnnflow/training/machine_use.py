"""What a run takes of its machine: threads, a device, memory."""

import ctypes
import sys
from dataclasses import dataclass

import numpy as np
import torch

from gnnflow.comm import Context
from gnnflow.errors import ConfigError
from gnnflow.graph import DistGraph
from gnnflow.loader import DistNeighborLoader

_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4
_TOP_PAD_BYTES = 64 << 20
_NEVER_BYTES = (1 << 31) - 1


def set_up_process(device: str, ctx: Context) -> torch.device:
    """Prepares this process for the work of a rank.

    Args:
        device: where the network is to run: `cpu`, `cuda` or `auto`.
        ctx: the job.

    Returns:
        The device of this rank.

    Raises:
        ConfigError: if a GPU is asked for and there is none.
    """
    torch.set_num_threads(ctx.threads)
    keep_freed_memory()
    return choose_device(device, ctx)


def choose_device(name: str, ctx: Context) -> torch.device:
    """The device that an option names; the ranks of a machine take its GPUs in turn.

    Raises:
        ConfigError: if a GPU is asked for and there is none.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError("device is cuda, but torch finds no GPU here; use --device cpu")
    device = torch.device("cuda", ctx.host_rank % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device


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


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryUse:
    """Bytes that parts of a run may take, each of the rank that takes most."""

    start: int = 0
    """Resident before the graph was opened: the interpreter and its libraries."""
    partition: int = 0
    """Files of the parts that a rank maps, and neighbour lists in memory."""
    cache: int = 0
    """Rows and books of the halo cache."""
    queues: int = 0
    """The most that minibatches under way and messages took at once."""

    @classmethod
    def of_run(cls, graph: DistGraph, loader: DistNeighborLoader, start_bytes: int) -> "MemoryUse":
        """Asks all ranks; all call this.

        Args:
            graph: the graph.
            loader: the minibatches that were taken.
            start_bytes: resident memory before the graph was opened.
        """
        service = graph.ctx.service
        queues = loader.maker.queue_bytes + (0 if service is None else service.pool.peak_bytes)
        own = np.array([start_bytes, graph.partition_bytes, loader.maker.cache_bytes, queues])
        most = np.max(graph.ctx.allgather_array(own), axis=0).tolist()
        return cls(start=most[0], partition=most[1], cache=most[2], queues=most[3])
