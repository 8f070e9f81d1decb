"""Ranks of one machine that print at which addresses they and their starter listen, as JSON."""

import json
import os
import sys

import torch

import gnnflow
from gnnflow.launch import detect_launch, launch
from gnnflow.training.data_parallel.process_group import close_process_group, ensure_process_group

LISTENING = "0A"
LOOPBACK = {"0100007F", "0" * 24 + "01000000"}


def addresses_of(pid: int) -> list[str]:
    """Local addresses of the listening sockets that a process holds."""
    links = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
    own = {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}
    found = []
    for table in ("tcp", "tcp6"):
        with open(f"/proc/net/{table}", encoding="ascii") as lines:
            next(lines)
            for line in lines:
                _, address, _, state, *_, inode = line.split()[:10]
                if state == LISTENING and inode in own:
                    found.append(address.partition(":")[0])
    return found


def main() -> None:
    if detect_launch() is None:
        launch(2, [sys.executable, __file__])
    with gnnflow.init(transport="alltoall", threads=1) as ctx:
        ensure_process_group(ctx, torch.device("cpu"))
        ctx.barrier()
        own = addresses_of(os.getpid())
        listening = ctx.allgather_json([own, addresses_of(os.getppid())])
        if ctx.rank == 0:
            print(json.dumps(listening))
        close_process_group()


if __name__ == "__main__":
    main()
