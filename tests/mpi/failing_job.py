"""A job that goes wrong in the way its first argument says; `test_failures.py` runs it."""

import os
import resource
import signal
import sys
import threading
import time

import numpy as np

import gnnflow
from gnnflow.comm.calls import Request
from gnnflow.errors import DataError


def wake(service, pid: int) -> None:
    while service._inquiry is None:
        time.sleep(0.01)
    os.kill(pid, signal.SIGCONT)


def main(what: str) -> None:
    ctx = gnnflow.init(transport="alltoall", comm_timeout_s=3)
    if what == "no with, one raises":
        if ctx.rank == 1:
            raise DataError("label 9 is too large")
        ctx.barrier()
    if what == "no with, nobody closes":
        ctx.barrier()
        return
    with ctx:
        ctx.step = "epoch 3, step 14"
        if what == "one leaves before its answer":
            service = ctx.service
            assert service is not None
            if ctx.rank == 0:
                question = Request(1, (), (np.arange(3),))
                service.call("echo", "an echo", [question])
            else:
                time.sleep(0.2)
            service.serve_arrays("echo", lambda message: message.arrays)
            return
        elif what == "one raises" and ctx.rank == 1:
            raise DataError("label 9 is too large\nuse less")
        elif what == "one has no descriptors left" and ctx.rank == 1:
            resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
            while True:
                os.dup(0)
        elif what == "all raise":
            raise DataError("label 9 is too large")
        elif what == "one has a bug" and ctx.rank == 2:
            raise KeyError("missing")
        elif what == "all have a bug":
            raise KeyError("missing")
        elif what == "one exits" and ctx.rank == 1:
            sys.exit(3)
        elif what == "all exit with 0":
            sys.exit(0)
        elif what == "one is interrupted" and ctx.rank == 1:
            raise KeyboardInterrupt
        elif what == "one aborts" and ctx.rank == 1:
            ctx.abort("that is enough")
        elif what == "one is stopped, the others are at a barrier" and ctx.rank == 2:
            os.kill(os.getpid(), signal.SIGSTOP)
        elif what == "one is stopped until the others ask who is missing":
            pids = ctx.allgather_json(os.getpid())
            if ctx.rank == 0:
                threading.Thread(target=wake, args=[ctx.service, pids[2]], daemon=True).start()
            elif ctx.rank == 2:
                os.kill(os.getpid(), signal.SIGSTOP)
                time.sleep(60)
        elif what == "one is late for a barrier" and ctx.rank == 2:
            ctx.step = "reading a book"
            time.sleep(60)
        elif what in ("one is stopped, another asks it", "one never serves", "an answer fails"):
            service = ctx.service
            assert service is not None
            if ctx.rank == 2 and what == "one is stopped, another asks it":
                os.kill(os.getpid(), signal.SIGSTOP)
            if ctx.rank == 2 and what == "an answer fails":
                service.serve_arrays("echo", lambda message: [message.arrays[7]])
            if ctx.rank == 0:
                question = Request(2, (), (np.arange(3),))
                service.call("echo", "an echo", [question]).result()
            time.sleep(60)
        ctx.barrier()


if __name__ == "__main__":
    main(sys.argv[1])
