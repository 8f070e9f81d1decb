import pytest

from benchmarks.changing_link import outcome_of, rows


def outcome(*times, share=0.0):
    summary = {
        "epochs": [{"epoch_time_s": time_s} for time_s in times],
        "volume_bytes": 5_000_000,
        "test_accuracy": 0.9,
    }
    return outcome_of(summary, share, 2)


def test_epochs_fall_into_phases():
    assert outcome(1, 2, 10, 20, 3, 4).phase_s == (3, 30, 7)


def test_policies_are_set_against_all_fixed_settings():
    found = rows(
        "slow_link",
        {
            "static": outcome(1, 1, 8, 8, 1, 1),
            "int8": outcome(1, 1, 2, 2, 1, 1),
            "auto": outcome(1, 1, 4, 3, 1, 1, share=0.5),
        },
    )
    assert [(row.name, row.against) for row in found] == [
        ("slow_link/auto", "rows fixed to int8"),
        ("slow_link/auto", "settings fixed"),
    ]
    assert [row.ratio for row in found] == [pytest.approx(8 / 11), pytest.approx(20 / 11)]
    assert found[0].facts["our_seconds_before_slow_after"] == "2.00, 7.00, 2.00"
    assert found[0].facts["share_of_decisions_with_shorter_rows"] == 0.5


def test_settings_that_failed_and_scores_that_are_not_known():
    blind = outcome_of(
        {"epochs": [{"epoch_time_s": 1.0}] * 6, "volume_bytes": 0, "test_accuracy": None}, 0.0, 2
    )
    found = rows("slow_link", {"int8": blind, "auto": blind})
    assert [(row.name, row.against, row.ratio) for row in found] == [
        ("slow_link/auto", "rows fixed to int8", 1)
    ]
    assert "our_test_accuracy" not in found[0].facts
    assert rows("slow_link", {"auto": blind}) == rows("slow_link", {}) == []
