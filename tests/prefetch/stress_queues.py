"""Queues between threads, ended at any moment from any side: nothing is lost and nobody is left.

python stress_queues.py finish|error|"close here"|"close there"|gate|pool
"""

import itertools
import random
import sys
import threading

from gnnflow.comm.messages import BufferPool
from gnnflow.prefetch.pipeline import Channel, ChannelClosed, Gate

ROUNDS = 150
WAIT_S = 60.0


def run_all(*targets):
    """Runs functions in threads; all must end, and errors surface."""
    errors = []

    def guarded(target):
        try:
            target()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=[target], daemon=True) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    # Where one fails, others may wait for it: what went wrong comes first.
    assert not errors, errors
    assert not [thread for thread in threads if thread.is_alive()], "a thread waits for ever"


def chain_channels(end):
    chance = random.Random(end)
    for _ in range(ROUNDS):
        first, second = Channel(chance.randint(1, 3)), Channel(chance.choice([1, 2, None]))
        stop_at = chance.randint(0, 40)
        received = []

        def send(first=first, stop_at=stop_at):
            try:
                for number in range(stop_at):
                    first.put(number)
                if end == "close there":
                    first.close()
                else:
                    first.finish(ValueError("told") if end == "error" else None)
            except ChannelClosed:
                first.close()

        def hand_on(first=first, second=second):
            try:
                while True:
                    second.put(first.get())
            except StopIteration:
                second.finish()
            except ValueError as error:
                second.finish(error)
            except ChannelClosed:
                first.close()
                second.close()

        def receive(second=second, received=received, stop_at=stop_at):
            try:
                for count in itertools.count():
                    if end == "close here" and count == stop_at // 2:
                        second.close()
                    received.append(second.get())
            except (StopIteration, ChannelClosed, ValueError) as error:
                ends = {"finish": StopIteration, "error": ValueError}
                assert isinstance(error, ends.get(end, ChannelClosed))

        run_all(send, hand_on, receive)
        assert received == list(range(len(received)))
        if end in ("finish", "error"):
            assert len(received) == stop_at


def limit_by_gate():
    for round_number in range(ROUNDS):
        chance = random.Random(round_number)
        limit, num, close_at = chance.randint(1, 4), 40, chance.choice([None, 10, 25])
        gate, inside = Gate(limit), Channel()

        def enter(gate=gate, inside=inside, num=num):
            try:
                for number in range(num):
                    gate.enter(1)
                    inside.put(number)
                inside.finish()
            except ChannelClosed:
                inside.finish()

        def leave(gate=gate, inside=inside, limit=limit, close_at=close_at):
            for count in itertools.count():
                if count == close_at:
                    gate.close()
                assert len(inside._items) <= limit
                try:
                    inside.get()
                except StopIteration:
                    return
                gate.leave()

        run_all(enter, leave)


def borrow_from_pool():
    pool = BufferPool()

    def borrow(mark):
        chance = random.Random(mark)
        for _ in range(400):
            buffers = [pool.take(chance.randint(1, 3 << 12)) for _ in range(chance.randint(1, 5))]
            for buffer in buffers:
                buffer[:] = mark
            for buffer in buffers:
                assert (buffer == mark).all()
                pool.give(buffer)

    run_all(*(lambda mark=mark: borrow(mark) for mark in range(4)))
    assert pool.peak_bytes <= 4 * 5 * (1 << 14)


if __name__ == "__main__":
    sys.setswitchinterval(1e-6)  # threads take turns as often as Python lets them
    if sys.argv[1] == "gate":
        limit_by_gate()
    elif sys.argv[1] == "pool":
        borrow_from_pool()
    else:
        chain_channels(sys.argv[1])
