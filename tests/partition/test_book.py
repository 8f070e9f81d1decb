import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnnflow.errors import PartitionFormatError
from gnnflow.partition import PartitionBook


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_owner_and_local_ids_agree_with_counting(sizes: list[int]) -> None:
    book = PartitionBook([0, *np.cumsum(sizes).tolist()])
    owners = [part for part, size in enumerate(sizes) for _ in range(size)]
    locals_ = [local for size in sizes for local in range(size)]
    assert (book.num_parts, book.num_vertices) == (len(sizes), sum(sizes))
    ids = np.arange(sum(sizes), dtype=np.int32)
    assert book.owner(ids).tolist() == owners
    assert book.owner(ids).dtype == np.int32
    for part in range(len(sizes)):
        low, high = book.range(part)
        mine = np.arange(low, high)
        assert high - low == sizes[part]
        assert book.local_ids(mine, part).tolist() == [
            local for local, owner in zip(locals_, owners, strict=True) if owner == part
        ]


@pytest.mark.parametrize("offsets", [[0], [1, 2], [0, 3, 2], [[0, 1]]])
def test_offsets_that_are_none(offsets: list[int]) -> None:
    with pytest.raises(PartitionFormatError, match="must start at 0 and never fall"):
        PartitionBook(offsets)


def test_ids_outside_are_refused() -> None:
    book = PartitionBook([0, 2, 5])
    with pytest.raises(IndexError, match=r"\[0, 5\), got 1 to 5"):
        book.owner([1, 5])
    with pytest.raises(IndexError, match=r"\[0, 5\), got -1"):
        book.owner([-1])
    with pytest.raises(IndexError, match=r"part 1 owns the global ids \[2, 5\), got 1 to 3"):
        book.local_ids([1, 3], 1)
    with pytest.raises(IndexError, match=r"part must be in \[0, 2\), got 2"):
        book.range(2)


def test_equality_and_no_way_to_change_it() -> None:
    book = PartitionBook([0, 2, 5])
    assert book == PartitionBook(np.array([0, 2, 5], dtype=np.int32))
    assert hash(book) == hash(PartitionBook([0, 2, 5]))
    assert book != PartitionBook([0, 3, 5])
    assert repr(book) == "PartitionBook([0, 2, 5])"
    with pytest.raises(ValueError, match="read-only"):
        book.offsets[0] = 1
