from benchmarks.results import scaling_tables
from benchmarks.scaling import estimated
from benchmarks.scaling.estimated import PartsPlan, estimate
from benchmarks.scaling.measured import STRONG, WEAK

TINY = PartsPlan(
    graph="sbm:vertices=3000,edges=30000,classes=30,within=0.78,features=8,train=0.5",
    parts=(2, 8),
    batch_size=50,
    sampled_ranks=2,
    least_minibatches=8,
    most_epochs=2,
)


def test_weak_scaling_grows_the_graph_with_the_ranks():
    assert STRONG.graph(8) == STRONG.graph(1)
    assert "vertices=200000,edges=2000000,classes=200," in WEAK.graph(8)


def test_epochs_are_estimated_from_the_minibatches_of_some_ranks():
    few, many = estimate(TINY, 1e-6)
    assert (few["parts"], few["steps"], many["steps"]) == (2, 15, 4)
    assert few["edge_cut"] < many["edge_cut"]
    for row in (few, many):
        assert row["lookahead"]["volume"] < row["none"]["volume"] == 1
        for link in estimated.LINKS:
            times = [row[name]["epoch_s"][link] for name in ("lookahead", "none")]
            assert row["compute_s"] < times[0] <= times[1]
        assert row["none"]["epoch_s"]["10gbit"] < row["none"]["epoch_s"]["1gbit"]
        assert row["partition_peak_bytes"] > 0
    assert many["compute_s"] < few["compute_s"]
    assert len(scaling_tables.estimated([few, many]).splitlines()) == 4


def test_ranks_that_share_cores_are_corrected_by_what_each_computed_and_received():
    row = {"processor_s": 2.0, "received_bytes": 3e9 / 8}
    assert scaling_tables.own_core_s(row) == (3.0, 5.0)
    assert scaling_tables.own_core_s(row | {"received_bytes": 0.0}) == (2.0, 2.0)
