import numpy as np
import pytest

from gnnflow.errors import ConfigError
from gnnflow.sampling.neighbor_service import default_budget_bytes, resident_indices

INDICES = np.array([4, 0, 2, 2, 1])


def test_ids_that_fit_take_half():
    resident = resident_indices(INDICES, 5, budget_bytes=20)
    assert resident.dtype == np.int32
    assert resident.tolist() == INDICES.tolist()


def test_ids_that_do_not_fit_stay_wide():
    resident = resident_indices(INDICES, 1 << 31, budget_bytes=40)
    assert resident.dtype == np.int64 and resident is not INDICES
    assert resident.tolist() == INDICES.tolist()


@pytest.mark.parametrize(("num_vertices", "budget"), [(5, 19), (5, 0), (1 << 31, 39)])
def test_lists_beyond_the_budget_stay_where_they_are(num_vertices, budget):
    assert resident_indices(INDICES, num_vertices, budget) is INDICES


def test_no_edges_need_no_memory():
    assert len(resident_indices(INDICES[:0], 5, budget_bytes=0)) == 0


def test_a_negative_budget_is_refused():
    with pytest.raises(ConfigError, match="topology_bytes must not be negative, got -1"):
        resident_indices(INDICES, 5, budget_bytes=-1)


def test_ranks_share_the_default():
    assert default_budget_bytes(4) == pytest.approx(default_budget_bytes(1) / 4, abs=1)
