"""Ends processes by `end_process` while one of its steps fails; prints how each ended, as JSON.

A process for each of `CASES` is forked here, since importing takes longer than ending.
"""

import json
import os
import resource
import signal
import sys
import threading
import time

from gnnflow.comm import failure

EXIT_CODE = 3
STEPS = ("_limit_the_end", "_flush_output", "_say", "_silence_mpi")


class FakeMpi:
    """Notes on a pipe that the job was to be ended."""

    def __init__(self, pipe):
        self.COMM_WORLD = self
        self._pipe = pipe

    def Abort(self, code):
        os.write(self._pipe, b"abort %d" % code)


def raises(error):
    def step(*arguments):
        raise error

    return step


def make_case(case):
    kind, _, step = case.partition(" ")
    if kind == "raises":
        error = {"memory": MemoryError(), "interrupt": KeyboardInterrupt()}[step.split()[1]]
        setattr(failure, step.split()[0], raises(error))
    elif case == "no descriptors":
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        try:
            while True:
                os.dup(0)
        except OSError:
            pass
    elif case == "full stdout":
        sys.stdout = open("/dev/full", "w")
        print("kept in the buffer")
    elif case == "closed streams":
        sys.stdout.close()
        sys.stderr.close()
    elif case == "no streams":
        sys.stdout = sys.stderr = None
    elif case == "stderr without a reader":
        reading, writing = os.pipe()
        os.dup2(writing, 2)
        os.close(reading)
    elif case == "stderr that nobody empties":
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        try:
            while os.write(writing, bytes(4096)):
                pass
        except BlockingIOError:
            os.set_blocking(writing, True)
        os.dup2(writing, 2)
    elif case == "Abort raises":
        FakeMpi.Abort = raises(RuntimeError())
    elif case == "Abort hangs":
        FakeMpi.Abort = lambda self, code: time.sleep(60)
    elif case == "a handler of SIGALRM":
        signal.signal(signal.SIGALRM, lambda *_: None)
        FakeMpi.Abort = lambda self, code: time.sleep(60)
    elif case == "two threads":
        other = failure.Failure("other", "other")
        threading.Thread(target=failure.end_process, args=[other, 0], daemon=True).start()
        time.sleep(0.01)
    elif case != "nothing fails":
        raise ValueError(case)


CASES = [
    *(f"raises {step} {error}" for step in STEPS for error in ("memory", "interrupt")),
    *("nothing fails", "no descriptors", "full stdout", "closed streams", "no streams"),
    *("stderr without a reader", "stderr that nobody empties", "two threads"),
    *("Abort raises", "Abort hangs", "a handler of SIGALRM"),
]


def run(case):
    """Returns whether Abort was reached, the exit code or minus the signal, and what was said."""
    told, telling = os.pipe()
    errors = os.memfd_create("stderr")
    child = os.fork()
    if child == 0:
        try:
            os.dup2(errors, 2)
            failure.MPI = FakeMpi(telling)
            failure._ABORT_WITHIN_S = 1.0
            make_case(case)
            failure.end_process(failure.Failure("key", "the reason", exit_code=EXIT_CODE), 1)
        finally:
            os._exit(99)
    os.close(telling)
    _, status = os.waitpid(child, 0)
    aborted = os.read(told, 100).decode()
    os.lseek(errors, 0, os.SEEK_SET)
    return aborted, os.waitstatus_to_exitcode(status), os.read(errors, 10_000).decode()


if __name__ == "__main__":
    print(json.dumps({case: run(case) for case in CASES}))
