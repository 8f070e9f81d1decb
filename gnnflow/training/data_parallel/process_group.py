"""The process group of torch.distributed, arranged through the job's communication."""

import atexit
import contextlib
import os
import re
import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import NoReturn

import psutil
import torch
from torch import distributed

# torch.distributed has it too, but does not export it to type checkers.
from torch._C._distributed_c10d import TCPStore

from gnnflow.comm import Context
from gnnflow.errors import CommError

_INTERFACE_VARIABLE = "GLOO_SOCKET_IFNAME"
# As "[/path/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:36543".
_GLOO_ERROR = re.compile(r"\[[^\]]*gloo/[^\]]*\]\s*([^\n]*?)\.?(?:\n|$)")
_LOOPBACK = "127.0.0.1"
_PROBE_TIMEOUT_S = 5.0

_interface: str | None = None
_second_group: distributed.ProcessGroup | None = None


def ensure_process_group(ctx: Context, device: torch.device) -> None:
    """Makes the default process group over the ranks of the job, once.

    The user names no host and no port: rank 0 opens a store and its address travels through `ctx`.
    Every rank must call this.

    Args:
        ctx: the job.
        device: where the model is: NCCL where every rank has a GPU of its own, else gloo.

    Raises:
        CommError: if a rank cannot reach rank 0.
    """
    if distributed.is_initialized():
        return
    global _interface
    timeout = timedelta(seconds=ctx.comm_timeout_s)
    store, address = _open_store(ctx, timeout)
    _interface = _interface_of(address)
    backend = _choose_backend(ctx, device)
    try:
        with _gloo_interface(_interface):
            distributed.init_process_group(
                backend, store=store, rank=ctx.rank, world_size=ctx.num_ranks, timeout=timeout
            )
    except RuntimeError as error:
        end_job(ctx, "connecting for gradients", error)
    atexit.register(close_process_group)


def second_process_group(ctx: Context) -> distributed.ProcessGroup:
    """A process group over all ranks beside the default one, made once; every rank calls this.

    Operations of one group need not keep an order with those of the other.
    """
    global _second_group
    if _second_group is None:
        with _gloo_interface(_interface):
            _second_group = distributed.new_group(timeout=timedelta(seconds=ctx.comm_timeout_s))
    return _second_group


def close_process_group() -> None:
    """Leaves the process groups if there are any."""
    global _second_group
    if distributed.is_initialized():
        distributed.destroy_process_group()
    _second_group = None


def connection_error(error: RuntimeError) -> str | None:
    """What a lost or silent rank made of an operation of the process group, in words.

    Args:
        error: what torch raised.

    Returns:
        The reason, or None if the error is of another kind.
    """
    found = _GLOO_ERROR.search(str(error))
    if found is not None:
        return " ".join(found[1].split()).partition(". ")[0]  # what follows is advice of gloo's
    return " ".join(str(error).split()) if isinstance(error, distributed.DistError) else None


def end_job(ctx: Context, what: str, error: RuntimeError) -> NoReturn:
    """Names the ranks that do not respond; torch says only that somebody did not.

    Args:
        ctx: the job.
        what: the operation that failed, in words.
        error: what torch raised; it is raised again if it is of another kind.
    """
    reason = connection_error(error)
    if reason is None:
        raise error
    ctx.fail_with_ranks(what, reason)


def _open_store(ctx: Context, timeout: timedelta) -> tuple[TCPStore, str]:
    """Opens the store; returns it and the address of this rank's side of the connection."""
    if ctx.rank == 0:
        store = _listen(ctx, timeout)
        ctx.broadcast_json({"port": store.port, "addresses": _own_addresses(ctx)})
        # Rank 0 talks to the others through the interface on which they found it.
        found = [address for address, _ in ctx.allgather_json(("", ""))[1:] if address]
        _check_reached(ctx, len(found) == ctx.num_ranks - 1)
        return store, found[0]
    offer = ctx.broadcast_json(None)
    remote, local = _first_reachable(offer["addresses"], offer["port"])
    ctx.allgather_json((remote, local))
    _check_reached(ctx, bool(remote))
    return TCPStore(
        remote, offer["port"], ctx.num_ranks, False, timeout, wait_for_workers=False
    ), local


def _listen(ctx: Context, timeout: timedelta) -> TCPStore:
    """Opens the store of rank 0, which on one machine nobody else can reach."""
    listener = socket.socket()
    listener.bind((_LOOPBACK if ctx.num_hosts == 1 else "", 0))
    listener.listen(ctx.num_ranks)
    port = listener.getsockname()[1]
    return TCPStore(
        _LOOPBACK,
        port,
        ctx.num_ranks,
        True,
        timeout,
        wait_for_workers=False,
        master_listen_fd=listener.detach(),
    )


def _check_reached(ctx: Context, reached: bool) -> None:
    if not reached:
        raise CommError(
            f"rank {ctx.rank} of {ctx.num_ranks}: no connection to rank 0 over TCP; name the "
            f"network between the machines, as {_INTERFACE_VARIABLE}=eth0"
        )


def _own_addresses(ctx: Context) -> list[str]:
    """Addresses at which the other ranks may find this one, the likeliest first."""
    if ctx.num_hosts == 1:
        return [_LOOPBACK]
    chosen = os.environ.get(_INTERFACE_VARIABLE, "")
    running = {name for name, stats in psutil.net_if_stats().items() if stats.isup}
    return [
        entry.address
        for name, entries in psutil.net_if_addrs().items()
        if name in running and chosen in ("", name)
        for entry in entries
        if entry.family == socket.AF_INET and not entry.address.startswith("127.")
    ]


def _first_reachable(addresses: list[str], port: int) -> tuple[str, str]:
    """The first address that answers and the local address of the way there, or two empty ones."""
    for address in addresses:
        try:
            with socket.create_connection((address, port), timeout=_PROBE_TIMEOUT_S) as connection:
                return address, str(connection.getsockname()[0])
        except OSError:
            continue
    return "", ""


def _interface_of(address: str) -> str | None:
    for name, entries in psutil.net_if_addrs().items():
        if any(entry.address == address for entry in entries):
            return str(name)
    return None


@contextlib.contextmanager
def _gloo_interface(name: str | None) -> Iterator[None]:
    """Tells gloo which network to use while it starts, unless the user has said so.

    Left alone it takes the address of the host name, which in containers often leads nowhere.
    """
    if name is None or _INTERFACE_VARIABLE in os.environ:
        yield
        return
    os.environ[_INTERFACE_VARIABLE] = name
    try:
        yield
    finally:
        del os.environ[_INTERFACE_VARIABLE]


def _choose_backend(ctx: Context, device: torch.device) -> str:
    own_gpu = device.type == "cuda" and len(ctx.ranks_on_host) <= torch.cuda.device_count()
    return "nccl" if all(ctx.allgather_json(own_gpu)) else "gloo"
