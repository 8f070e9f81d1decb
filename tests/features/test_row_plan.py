import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnnflow import _kernels
from gnnflow.features.row_plan import ELSEWHERE, RowLayout, RowPlan


@st.composite
def fetches(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Offsets of parts (some empty), global ids, and which parts are at hand."""
    sizes = draw(st.lists(st.integers(0, 9), min_size=1, max_size=40))
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    num_vertices = int(offsets[-1])
    ids = draw(st.lists(st.integers(0, num_vertices - 1), max_size=60)) if num_vertices else []
    at_hand = draw(st.lists(st.sampled_from(range(len(sizes))), unique=True, min_size=1))
    return offsets, np.array(ids, dtype=np.int64), at_hand


@settings(max_examples=100, deadline=None)
@given(fetches())
def test_plan(fetch: tuple[np.ndarray, np.ndarray, list[int]]) -> None:
    offsets, ids, at_hand = fetch
    num_parts = len(offsets) - 1
    plan = RowPlan.make(ids, RowLayout.make(offsets, at_hand))
    remote: list[list[int]] = [[] for _ in range(num_parts)]
    for position, global_id in enumerate(ids.tolist()):
        owner = int(np.searchsorted(offsets, global_id, side="right")) - 1
        if owner in at_hand:
            assert plan.source_of[position] == at_hand.index(owner)
            assert plan.row_of[position] == global_id - offsets[owner]
        else:
            assert plan.source_of[position] == ELSEWHERE
            assert plan.row_of[position] == global_id - offsets[owner]
            remote[owner].append(position)
    assert plan.num_rows == len(ids)
    assert plan.remote_counts.tolist() == [len(positions) for positions in remote]
    in_order = [position for positions in remote for position in positions]
    assert plan.remote_positions.tolist() == in_order
    assert plan.num_remote == len(in_order)
    assert plan.remote_rows.tolist() == plan.row_of[in_order].tolist()
    assert plan.remote_arrive_in_order() == (in_order == list(range(len(ids))))


@settings(max_examples=50, deadline=None)
@given(fetches(), st.sampled_from([1, 3, 8, 200]), st.integers(1, 3))
def test_rows_come_into_place(
    fetch: tuple[np.ndarray, np.ndarray, list[int]], row_bytes: int, num_threads: int
) -> None:
    offsets, ids, at_hand = fetch
    plan = RowPlan.make(ids, RowLayout.make(offsets, at_hand))
    rng = np.random.default_rng(0)
    table = rng.integers(0, 256, (offsets[-1], row_bytes), dtype=np.uint8)
    sources = [table[offsets[part] : offsets[part + 1]] for part in at_hand]
    out = np.zeros((len(ids), row_bytes), dtype=np.uint8)
    _kernels.copy_planned_rows(out, sources, plan.source_of, plan.row_of, num_threads)
    assert not out[plan.remote_positions].any()
    received = table[ids][plan.remote_positions]
    _kernels.place_rows(out, plan.remote_positions, received, num_threads)
    np.testing.assert_array_equal(out, table[ids])


def test_many_rows_with_threads() -> None:
    rng = np.random.default_rng(1)
    tables = [rng.standard_normal((size, 5)) for size in (1000, 1, 3000)]
    offsets = np.array([0, 1000, 1001, 4001])
    ids = rng.integers(0, 4001, 50_000)
    plan = RowPlan.make(ids, RowLayout.make(offsets, [2, 0]))
    out = np.full((len(ids), 5), np.nan)
    sources = [tables[2], tables[0]]
    _kernels.copy_planned_rows(out, sources, plan.source_of, plan.row_of, num_threads=2)
    _kernels.place_rows(out, plan.remote_positions, np.tile(tables[1], (plan.num_remote, 1)), 2)
    np.testing.assert_array_equal(out, np.concatenate(tables)[ids])


def test_bad_values() -> None:
    layout = RowLayout.make(np.array([0, 3, 5]), [0])
    for wrong in (-1, 5):
        with pytest.raises(ValueError, match=rf"in \[0, 5\), got {wrong}"):
            RowPlan.make(np.array([1, wrong]), layout)
    with pytest.raises(ValueError, match="ids must hold integers"):
        RowPlan.make(np.array([1.0]), layout)
    with pytest.raises(ValueError, match="at most 254 parts"):
        RowLayout.make(np.arange(301), list(range(300)))
    out, zeros = np.zeros((2, 4)), np.zeros(2, dtype=np.int64)
    sources = zeros.astype(np.uint8)
    with pytest.raises(ValueError, match="must have rows of 32 bytes like out, got 24"):
        _kernels.copy_planned_rows(out, [np.zeros((2, 3))], sources, zeros)
    with pytest.raises(ValueError, match=r"rows of a source must be in \[0, 2\), got 2"):
        _kernels.copy_planned_rows(out, [out], sources, zeros + 2)
    with pytest.raises(ValueError, match="below the number of sources 1, got 1"):
        _kernels.copy_planned_rows(out, [out], sources + 1, zeros)
    with pytest.raises(ValueError, match=r"rows of out must be in \[0, 2\), got 7"):
        _kernels.place_rows(out, zeros + 7, np.zeros((2, 4)))
    with pytest.raises(ValueError, match="one row per position, got 3 rows and 2"):
        _kernels.place_rows(out, zeros, np.zeros((3, 4)))
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out must be writeable"):
        _kernels.place_rows(out, zeros, np.zeros((2, 4)))
