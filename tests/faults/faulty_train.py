"""`gnnflow-train` on ranks of which one meets a fault at a step.

python faulty_train.py FAULT RANK EPOCH STEP words of gnnflow-train
"""

import ctypes
import os
import resource
import shutil
import signal
import subprocess
import sys

import numpy as np

from gnnflow.cli import job, train
from gnnflow.launch import detect_launch, launch
from gnnflow.launch.rank_board import BOARD_VARIABLE


def suffer(fault: str, batch) -> None:
    """Does to this process, or what it is about to compute, what the word says."""
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "crash":
        ctypes.string_at(0)
    elif fault == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif fault == "no memory":
        in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (in_use + (64 << 20), resource.RLIM_INFINITY))
        np.ones(1 << 30)
    elif fault == "cut link":
        # The network of an emulated host, which is this rank's alone.
        subprocess.run(["ip", "link", "set", "dev", "eth0", "down"], check=True)
    elif fault == "nan":
        batch.x.fill_(np.nan)
    elif fault == "no folder":
        shutil.rmtree(sys.argv[sys.argv.index("--out") + 1])
    elif fault == "interrupt":
        # The starter, which only hears of it and must hand it on.
        starter = os.environ[BOARD_VARIABLE].split("/")[2]
        os.kill(int(starter), signal.SIGINT)
    else:
        raise ValueError(fault)


def prepare(Trainer, fault: str, when: str) -> None:
    """Lets the trainer meet the fault before it computes that step."""
    take_step = Trainer._step

    def faulty_step(self, step, batch, wait_s):
        if self._loader._ctx.step == when:
            suffer(fault, batch)
        return take_step(self, step, batch, wait_s)

    Trainer._step = faulty_step


def main() -> None:
    words = sys.argv[1:]
    # Where the tests run in the background, they pass on that Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    fault, rank, epoch, step = words[:4]
    sys.argv[:] = ["gnnflow-train", *words[4:]]
    launched = detect_launch()
    if launched is None:
        program = [sys.executable, __file__, *words]
        job.launch = lambda num_ranks, argv, remedy: launch(num_ranks, program, remedy=remedy)
    else:
        # All ranks load torch now, at once: they would wait for the one that needs the class.
        sys.modules["transformers"] = None  # PyG does without it and starts a second earlier
        from gnnflow.training.trainer import Trainer

        if launched.rank == int(rank):
            prepare(Trainer, fault, f"epoch {epoch}, step {step}")
    train.main()


if __name__ == "__main__":
    main()
