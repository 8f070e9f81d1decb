from gnnflow.cache.step import CacheCounts
from gnnflow.traffic import Traffic


def test_rows_fetched_are_those_not_found_and_those_to_fill():
    traffic = Traffic(rows_asked=10, rows_hit=4, rows_filled=3)
    assert (traffic.rows_missed, traffic.rows_fetched, traffic.hit_rate) == (6, 9, 0.4)
    assert Traffic(rows_filled=3).rows_fetched == 3 and Traffic(rows_filled=3).hit_rate is None


def test_sums_and_differences():
    parts = [Traffic(rows_asked=5, rows_hit=2, bytes_fetched=12, wait_s=0.5), Traffic(rows_asked=1)]
    total = Traffic(rows_asked=6, rows_hit=2, bytes_fetched=12, wait_s=0.5)
    assert parts[0] + parts[1] == Traffic.total(parts) == total
    assert total - parts[1] == parts[0] and Traffic.total([]) == Traffic()


def test_what_extends_it_is_summed_with_all_it_has():
    counts = CacheCounts(rows_asked=3, num_evicted=2)
    assert counts + counts == CacheCounts(rows_asked=6, num_evicted=4)
    assert counts - counts == CacheCounts()
