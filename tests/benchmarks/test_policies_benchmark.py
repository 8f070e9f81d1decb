"""The tables of the policies' benchmark, from results made up."""

import math

import pytest

from benchmarks.policies import Played, losses, row_of, summary_table
from gnnflow.policies.rivals import RIVALS


def played(policy, volume, *, graph="g", budget=0.25, scorer="decay", static=100, **more):
    return Played(
        graph=graph,
        budget=budget,
        scorer=scorer,
        policy=policy,
        volume=volume,
        hit_rate=0.5,
        static=static,
        static_at="fill empty, every 5, alpha 0.2",
        no_cache=200,
        belady=50,
        **more,
    )


def cells(table):
    headings = [column.header for column in table.columns]
    rows = zip(*(column.cells for column in table.columns), strict=True)
    return [dict(zip(headings, row, strict=True)) for row in rows]


def test_pass_at_1_stands_beside_its_rivals():
    scores = dict(zip(RIVALS, (0.9, 0.1, 0.95), strict=True))
    others = dict(zip(RIVALS, (0.7, 0.3, 0.85), strict=True))
    table = summary_table(
        "t",
        "decay",
        [
            played("none", 200),
            played("auto", 80, pass_at_1=0.8, rivals=scores, latency_s=0.001),
            played("auto", 125, graph="h", pass_at_1=1.0, rivals=others, latency_s=0.003),
            played("auto", 1, scorer="decay-filled"),
        ],
    )
    none, auto = cells(table)
    assert (none["25 %"], none["Pass@1"], none["always no"], none["latency"]) == (
        "0.500",
        "",
        "",
        "",
    )
    assert (auto["25 %"], auto["better than static"]) == ("1.000", "1 of 2")
    assert [auto[name] for name in ("Pass@1", *RIVALS.values())] == ["0.90", "0.80", "0.20", "0.90"]
    assert auto["latency"] == "2.00 ms"


def test_rows_name_the_schedule_and_the_rivals():
    scores = dict(zip(RIVALS, (0.9, 0.1, 0.95), strict=True))
    row = row_of(played("auto", 80, pass_at_1=0.8, rivals=scores)).to_json()
    assert row["name"] == "policies/g/25/decay/auto"
    assert row["ratio"] == 1.25
    assert row["static_at"] == "fill empty, every 5, alpha 0.2"
    assert (row["of_no_cache"], row["of_belady"]) == (0.4, 1.6)
    assert [row[name] for name in ("pass_at_1", *RIVALS)] == [0.8, 0.9, 0.1, 0.95]
    assert "pass_at_1" not in row_of(played("none", 200)).to_json()


def test_where_nothing_is_moved_nothing_is_divided():
    still = played("auto", 0, static=0)
    assert still.against_static == row_of(still).ratio == 1
    assert row_of(played("auto", 0)).ratio == math.inf
    both = [still, played("auto", 9, static=0), played("auto", 0)]
    assert [cells(summary_table("t", "decay", [one]))[0]["25 %"] for one in both] == [
        "1.000",
        "0.000",
        "inf",
    ]
    assert summary_table("t", "decay", []).row_count == 0


def test_losses_of_language_models_are_told_by_fill():
    found = list(
        losses(
            [
                played("llm-tuned", 110),
                played("auto", 100),
                played("llm-tuned", 90, budget=0.5),
                played("auto", 99, budget=0.5),
                played("llm-tuned", 103, scorer="decay-filled"),
                played("llm-tuned", 500, scorer="lookahead", static=1),
            ]
        )
    )
    assert found == [
        "llm-tuned loses to static in 2 of 3: g 25 % fill empty by 10.0 %, g 25 % fill degree by "
        "3.0 %",
        "llm-tuned loses to auto in 1 of 2: g 25 % fill empty by 10.0 %",
    ]
    assert list(losses([])) == list(losses([played("auto", 100)])) == []


@pytest.mark.parametrize("policy", ["static", "auto"])
def test_a_policy_that_was_asked_nothing_has_no_figures(policy):
    (row,) = cells(summary_table("t", "decay", [played(policy, 100)]))
    assert [row[name] for name in ("Pass@1", *RIVALS.values(), "latency")] == [""] * 5
