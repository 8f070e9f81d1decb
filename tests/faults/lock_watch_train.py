"""`gnnflow-train` that notes which of gnnflow's locks are taken while which are held.

    python lock_watch_train.py FOLDER words of gnnflow-train

Each rank writes `FOLDER/locks-RANK.json`: pairs of locks, outer and inner, and what was waited for
with a lock held. A lock is called by the module that makes it. The bell of the communication thread
is left out: one thread rings it, another waits, nobody holds it.
"""

import atexit
import json
import sys
import threading
from pathlib import Path

# NumPy makes a lock in each generator, which looks as if it came from the schedule that shuffles.
_LEFT_OUT = {"gnnflow.comm.exchange", "gnnflow.loader.seed_schedule"}
_HELD = threading.local()
PAIRS: set[tuple[str, str]] = set()
WAITS: set[tuple[str, str]] = set()
MADE: set[str] = set()
_make_lock, _make_rlock = threading.Lock, threading.RLock
_Condition, _event_wait = threading.Condition, threading.Event.wait


def held() -> list[str]:
    if not hasattr(_HELD, "names"):
        _HELD.names = []
    return _HELD.names


class WatchedLock:
    """A lock with a name."""

    def __init__(self, name, lock):
        self.name, self.lock = name, lock
        MADE.add(name)

    def acquire(self, blocking=True, timeout=-1):
        PAIRS.update((outer, self.name) for outer in held() if outer != self.name)
        taken = self.lock.acquire(blocking, timeout)
        if taken:
            held().append(self.name)
        return taken

    def release(self):
        self.lock.release()
        held().remove(self.name)

    def locked(self):
        return self.lock.locked()

    def __enter__(self):
        self.acquire()

    def __exit__(self, *error):
        self.release()

    # What a condition asks of its lock.

    def _is_owned(self):
        return self.lock._is_owned()

    def _release_save(self):
        count = held().count(self.name)
        _HELD.names = [name for name in held() if name != self.name]
        WAITS.update((outer, self.name) for outer in held())
        return self.lock._release_save(), count

    def _acquire_restore(self, state):
        self.lock._acquire_restore(state[0])
        held().extend([self.name] * state[1])


def caller() -> str | None:
    name = sys._getframe(2).f_globals.get("__name__", "")
    return name if name.startswith("gnnflow.") and name not in _LEFT_OUT else None


def lock():
    name = caller()
    return _make_lock() if name is None else WatchedLock(name, _make_lock())


def rlock():
    name = caller()
    return _make_rlock() if name is None else WatchedLock(name, _make_rlock())


def condition(lock=None):
    name = caller()
    return _Condition(lock if name is None else WatchedLock(name, _make_rlock()))


def wait(event, timeout=None):
    WAITS.update((outer, sys._getframe(1).f_globals.get("__name__", "")) for outer in held())
    return _event_wait(event, timeout)


def main() -> None:
    threading.Lock, threading.RLock, threading.Condition = lock, rlock, condition
    threading.Event.wait = wait
    from gnnflow.cli import job, train
    from gnnflow.launch import detect_launch, launch

    folder, *words = sys.argv[1:]
    sys.argv[:] = ["gnnflow-train", *words]
    launched = detect_launch()
    if launched is None:
        program = [sys.executable, __file__, folder, *words]
        job.launch = lambda num_ranks, argv, remedy: launch(num_ranks, program, remedy=remedy)
    else:
        path = Path(folder) / f"locks-{launched.rank}.json"
        atexit.register(
            lambda: path.write_text(
                json.dumps({"pairs": sorted(PAIRS), "waits": sorted(WAITS), "made": sorted(MADE)})
            )
        )
    train.main()


if __name__ == "__main__":
    main()
