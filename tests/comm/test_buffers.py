import threading

import numpy as np

from gnnflow.comm.messages import BufferPool


def test_what_is_given_back_is_lent_again() -> None:
    pool = BufferPool()
    first = pool.take(5000)
    assert first.shape == (5000,) and first.dtype == np.uint8 and first.flags.writeable
    address = first.ctypes.data
    second = pool.take(5000)
    assert second.ctypes.data != address
    pool.give(first[:16].view(np.int64))
    assert pool.take(8192).ctypes.data == address
    assert pool.take(0).shape == (0,)
    assert pool.take(8193).size == 8193


def test_memory_that_is_kept_is_bounded() -> None:
    pool = BufferPool()
    for buffer in [pool.take(100) for _ in range(100)]:
        pool.give(buffer)
    kept = [slab for slabs in pool._free.values() for slab in slabs]
    assert len(kept) <= 16


def test_threads_never_share_a_buffer() -> None:
    pool = BufferPool()

    def work(number: int) -> None:
        for _ in range(200):
            buffer = pool.take(4096)
            buffer[:] = number
            if not (buffer == number).all():
                clashes.append(number)
            pool.give(buffer)

    clashes: list[int] = []
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not clashes
