import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from gnnflow.comm.messages import (
    BufferPool,
    message_bytes,
    message_parts,
    read_message,
    write_message,
)

int64s = st.integers(-(2**63), 2**63 - 1)
arrays = st.sampled_from(["uint8", "int32", "int64", "float32", "float64"]).flatmap(
    lambda dtype: npst.arrays(np.dtype(dtype), st.integers(0, 40))
)


@settings(max_examples=50, deadline=None)
@given(
    kind=int64s, tag=int64s, params=st.lists(int64s, max_size=5), data=st.lists(arrays, max_size=5)
)
def test_round_trip(kind: int, tag: int, params: list[int], data: list[np.ndarray]) -> None:
    buffer = write_message(BufferPool(), kind, tag, params, data)
    message = read_message(buffer)
    assert (message.kind, message.reply_tag, message.params) == (kind, tag, tuple(params))
    assert len(message.arrays) == len(data)
    for read, written in zip(message.arrays, data, strict=True):
        assert read.dtype == written.dtype
        np.testing.assert_array_equal(read, written)
        assert read.size == 0 or np.shares_memory(read, buffer)
    assert message_bytes(buffer) == buffer.size
    words = 8 * (4 + len(params) + 2 * len(data))
    assert message_bytes(buffer[:words]) == buffer.size


def test_other_types_are_no_message() -> None:
    with pytest.raises(KeyError):
        write_message(BufferPool(), 0, 0, (), [np.zeros(3, dtype=np.complex64)])


@given(num_bytes=st.integers(0, 1000), limit=st.integers(1, 300))
def test_parts_cover_a_message(num_bytes: int, limit: int) -> None:
    parts = message_parts(num_bytes, limit)
    assert parts[0][0] == 0 and parts[-1][1] == num_bytes
    assert all(end == start for (_, end), (start, _) in zip(parts, parts[1:], strict=False))
    assert all(end - start <= limit for start, end in parts)
    assert all(end - start == limit for start, end in parts[:-1])


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
