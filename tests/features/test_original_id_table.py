"""From original ids to global ids, where the parts do not hold each vertex once."""

import numpy as np
import pytest

import gnnflow
from gnnflow.errors import PartitionFormatError
from gnnflow.features.original_id_table import OriginalIdTable
from gnnflow.features.row_exchange import RowExchange


def make(original_ids: list[int]) -> OriginalIdTable:
    ids = np.array(original_ids)
    offsets = np.array([0, len(ids)])
    with gnnflow.init(threads=1) as ctx:
        rows = RowExchange(ctx, "")
        return OriginalIdTable(ctx, rows, ids, offsets, rows.store("ids", offsets, [(0, ids)]))


def test_each_vertex_has_a_number() -> None:
    assert make([2, 0, 1]).to_global(np.array([[0, 1, 2]])).tolist() == [[1, 2, 0]]


@pytest.mark.parametrize(
    ("original_ids", "missing"), [([0, 0, 2], 1), ([1, 1, 2], 0), ([0, 1, 1], 2), ([0, 1, 7], 2)]
)
def test_a_vertex_that_is_missing_is_named(original_ids: list[int], missing: int) -> None:
    with pytest.raises(PartitionFormatError, match=f"no part holds vertex {missing} of the input"):
        make(original_ids)
