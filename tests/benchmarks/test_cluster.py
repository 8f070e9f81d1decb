from dataclasses import replace

import pytest

from benchmarks.cluster import describe, rows
from benchmarks.cluster_runs import GROUPS, Run
from benchmarks.emulated_hosts import Traffic
from benchmarks.hyperparameters import HYPERPARAMETERS
from gnnflow.errors import GnnflowError


def run(contender: str, *epoch_time_s: float, rate: str = "1gbit") -> Run:
    return Run(
        contender=contender,
        rate=rate,
        epoch_time_s=epoch_time_s,
        hyperparameters=HYPERPARAMETERS,
        val_accuracy=0.8,
        test_accuracy=0.9,
        traffic={},
        details={},
    )


def test_first_epoch_is_left_out():
    assert run("none", 9, 1, 2, 4).typical_epoch_time_s == 2
    assert run("none", 9).typical_epoch_time_s == 9


def test_rows_set_the_best_setting_against_the_others():
    runs = [
        run("distdgl", 9, 6),
        run("none", 9, 3),
        run("static", 9, 2.5),
        run("lookahead", 9, 1.5),
        run("lookahead", 9, 1.0),
        run("lookahead", 9, 1.1),
        run("none", 9, 5, rate="200mbit"),
        run("lookahead", 9, 2, rate="200mbit"),
    ]
    found = rows(runs)
    assert [row.name for row in found] == [
        "cluster/1gbit/distdgl",
        "cluster/1gbit/none",
        "cluster/1gbit/static",
        "cluster/200mbit/none",
    ]
    assert [(row.ours, row.theirs) for row in found] == [
        (1.1, 6),
        (1.1, 3),
        (1.1, 2.5),
        (2, 5),
    ]
    assert [row.ratio for row in found] == [
        pytest.approx(ratio) for ratio in (6 / 1.1, 3 / 1.1, 2.5 / 1.1, 2.5)
    ]
    assert {row.facts["our_setting"] for row in found} == {"lookahead"}
    assert {row.unit for row in found} == {"s/epoch"}


def test_a_setting_is_not_set_against_itself():
    assert [row.name for row in rows([run("distdgl", 9, 6), run("none", 9, 3)])] == [
        "cluster/1gbit/distdgl"
    ]


def test_larger_caches_are_compared_among_themselves():
    runs = [run("none", 9, 6), run("static", 9, 5), run("lookahead", 9, 4)]
    runs += [run("static-50", 9, 3), run("lookahead-50", 9, 2), run("lookahead-50-bfloat16", 9, 1)]
    ratios = {row.name: row.ratio for row in rows(runs)}
    assert ratios == {
        "cluster/1gbit/none": 1.5,
        "cluster/1gbit/static": 1.25,
        "cluster/1gbit/50/none": 3,
        "cluster/1gbit/50/static": 1.5,
        "cluster/1gbit/50-bfloat16/none": 6,
        "cluster/1gbit/50-bfloat16/static": 3,
    }


def test_rows_alone_bound_the_ratio():
    traffic = {host: Traffic(sent_bytes=9, received_bytes=9) for host in ("host0", "host1")}
    runs = []
    for name, megabytes in (("none", (9, 40, 60, 50)), ("lookahead", (9, 20, 20, 20))):
        epochs = [{"volume_bytes": count * 10**6} for count in megabytes]
        told = run(name, 9, 4 if name == "none" else 2, rate="100mbit")
        runs.append(replace(told, traffic=traffic, details={"epochs": epochs}))
    # 10 MB on each of two links of 12.5 MB/s.
    assert runs[1].rows_alone_s == pytest.approx(0.8)
    [row] = rows(runs)
    assert row.facts["our_rows_alone_s"] == pytest.approx(0.8)
    assert row.facts["their_rows_alone_s"] == pytest.approx(2.0)
    assert row.facts["ratio_of_rows_alone"] == pytest.approx(2.5)
    assert row.facts["their_epochs_with_the_first_s"] == 13
    # Nothing limits these, and DistDGL does not tell.
    assert replace(runs[0], rate="unlimited").rows_alone_s is None
    assert run("distdgl", 9, 6).rows_alone_s is None


@pytest.mark.parametrize(
    ("fetch_s", "wait_s", "hidden"),
    [(1.0, 0.0, 1.0), (1.0, 0.25, 0.75), (5.0, 3.0, 1.0), (5.0, 4.0, 0.5), (1.0, 7.0, 0.0)],
)
def test_fetching_is_hidden_where_training_does_not_wait(fetch_s, wait_s, hidden):
    epoch = {"sample_s": 9, "fetch_s": fetch_s, "wait_s": wait_s, "compute_s": 1.5}
    told = replace(run("lookahead", 9), details={"epochs": [epoch | {"all_reduce_s": 0.5}]})
    assert told.hidden_share == pytest.approx(hidden)


def test_peers_that_tell_no_stages_have_no_hidden_share():
    assert run("distdgl", 9).hidden_share is None


@pytest.mark.parametrize("fastest", [name for names in GROUPS.values() for name in names])
def test_any_setting_may_be_the_fastest(fastest):
    names = {name for group in GROUPS.values() for name in group} | {"distdgl"}
    for rate in ("200mbit", "loopback"):
        found = rows([run(name, 9, 1 if name == fastest else 2, rate=rate) for name in names])
        for group, members in GROUPS.items():
            prefix = "/".join(filter(None, ("cluster", rate, group)))
            mine = [row for row in found if row.name.rpartition("/")[0] == prefix]
            # All but one, which is our side: nothing is set against itself.
            assert len(mine) == len(members)
            if fastest in members:
                assert {row.facts["our_setting"] for row in mine} == {fastest}
                assert {row.ratio for row in mine} == {2}


def test_what_did_not_run_is_left_out():
    assert rows([]) == []
    assert rows([run("distdgl", 9, 6)]) == []
    assert [row.name for row in rows([run("static", 9, 2), run("lookahead", 9, 3)])] == [
        "cluster/1gbit/lookahead"
    ]


def test_a_run_without_test_seeds_and_one_that_takes_no_time():
    blind = replace(run("none", 9, 3), test_accuracy=None)
    assert "validation accuracy 0.8000, test accuracy not known" in describe(blind)
    [row] = rows([blind, run("lookahead", 0, 0)])
    assert "their_test_accuracy" not in row.facts and row.facts["our_test_accuracy"] == 0.9
    assert row.ratio == float("inf") and row.to_json()["ratio"] is None


def test_accuracies_of_both_sides_stand_beside_their_times():
    seeds = [replace(HYPERPARAMETERS, seed=seed) for seed in (0, 1)]

    def learnt(contender: str, epoch_s: float, *accuracies: float) -> list[Run]:
        runs = zip(seeds, accuracies, strict=False)
        return [
            replace(run(contender, 9, epoch_s), hyperparameters=hyper, val_accuracy=accuracy)
            for hyper, accuracy in runs
        ]

    [row] = rows([*learnt("distdgl", 6, 0.70, 0.71), *learnt("lookahead", 1, 0.80, 0.82)])
    assert row.facts["accuracies_after_epochs"] == HYPERPARAMETERS.epochs
    assert row.facts["our_val_accuracy"] == pytest.approx(0.81)
    assert row.facts["their_val_accuracy"] == pytest.approx(0.705)
    assert row.facts["our_test_accuracy"] == row.facts["their_test_accuracy"] == 0.9
    assert row.facts["accuracies_apart"] == (
        "val +0.1050, DIFFER BY MORE THAN the spread of 0.0200; "
        "test +0.0000, within the spread of 0.0000"
    )
    [row] = rows([*learnt("distdgl", 6, 0.70), *learnt("lookahead", 1, 0.80)])
    assert "val +0.1000, spread not known from one run each" in row.facts["accuracies_apart"]


def test_times_of_different_trainings_are_not_compared():
    slower = replace(HYPERPARAMETERS, lr=0.003)
    runs = [replace(run("distdgl", 9, 6), hyperparameters=slower), run("lookahead", 9, 1)]
    with pytest.raises(GnnflowError, match=r"lr=0\.003"):
        rows(runs)
