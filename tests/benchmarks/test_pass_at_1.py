import pytest

from benchmarks.pass_at_1 import draw, judge, table_of
from gnnflow.errors import DataError
from gnnflow.policies import Decision
from gnnflow.policies.auto import AutoPolicy
from gnnflow.policies.labelled_situations import shipped_situations, write_situations
from gnnflow.policies.rivals import LEARNT, RIVALS


class AlwaysYes:
    name = "yes"

    def decide(self, observation):
        return Decision(replace=True)


def test_policies_are_judged_by_the_better_choice(tmp_path):
    write_situations(tmp_path / "situations.jsonl", shipped_situations("reference"))
    situations = draw(tmp_path / "situations.jsonl", 20, seed=1)
    assert len(situations) == 20
    assert situations == draw(tmp_path / "situations.jsonl", 20, seed=1)
    right = sum(item.replace for item in situations)
    found = judge(AlwaysYes(), situations)
    assert found["pass_at_1"] == pytest.approx(right / 20)
    assert found["pass_at_1_always_yes"] == pytest.approx(right / 20)
    assert found["pass_at_1_always_no"] == pytest.approx(1 - right / 20)
    assert judge(AutoPolicy(), situations)["pass_at_1"] > 0.5


def test_rivals_stand_below_the_policies():
    scores = {"auc": 0.9, "latency_median_s": 0.01}
    rivals = dict(zip(RIVALS, (0.7, 0.3, 0.8), strict=True))
    record = {
        "good": {
            "a": {"pass_at_1": 0.9, **scores, **rivals},
            "b": {"pass_at_1": 0.8, **scores, **rivals},
        },
        "bad": {
            "a": {"pass_at_1": 0.6, **scores, **rivals},
            "b": {"pass_at_1": 0.7, **scores, **rivals},
        },
    }
    table = table_of(record, LEARNT)
    columns = {column.header: list(column.cells) for column in table.columns}
    assert columns["decides"] == [
        "good",
        "bad",
        *list(RIVALS.values())[:2],
        f"one threshold: {LEARNT}",
    ]
    assert columns["a"] == ["0.90", "0.60", "0.70", "0.30", "0.80"]
    # As good as a threshold is not better.
    assert columns["beats all three"][:2] == ["1 of 2", "0 of 2"]
    assert table_of({}, LEARNT).row_count == 3


def test_a_file_without_anything_to_decide_is_refused(tmp_path):
    write_situations(tmp_path / "situations.jsonl", [])
    with pytest.raises(DataError, match="no situation"):
        draw(tmp_path / "situations.jsonl", 5, seed=0)
