"""Files between ranks: only rank 0 reads and writes, no shared file system is needed."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gnnflow.comm import Context


def gather_bytes(ctx: Context, content: bytes) -> list[bytes]:
    """Brings what each rank has to rank 0; all ranks call this.

    Returns:
        On rank 0 one for each rank, elsewhere nothing.
    """
    nothing = _as_array(b"")
    arrays = [_as_array(content) if rank == 0 else nothing for rank in range(ctx.num_ranks)]
    arrived = ctx.exchange_arrays(arrays)
    return [array.tobytes() for array in arrived] if ctx.rank == 0 else []


def scatter_bytes(ctx: Context, contents: Sequence[bytes]) -> bytes:
    """Brings each rank what rank 0 has for it; all ranks call this.

    Args:
        ctx: the job.
        contents: on rank 0 one for each rank; elsewhere nothing.
    """
    nothing = _as_array(b"")
    arrays = [nothing] * ctx.num_ranks if ctx.rank else [_as_array(item) for item in contents]
    return ctx.exchange_arrays(arrays)[0].tobytes()


def broadcast_bytes(ctx: Context, content: bytes) -> bytes:
    """Brings all ranks what rank 0 has; all ranks call this."""
    return ctx.allgather_array(_as_array(content if ctx.rank == 0 else b""))[0].tobytes()


def _as_array(content: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(content, dtype=np.uint8)
