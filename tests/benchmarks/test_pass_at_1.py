import pytest

from benchmarks.pass_at_1 import draw, judge
from gnnflow.policies import Decision
from gnnflow.policies.auto import AutoPolicy
from gnnflow.policies.situations import shipped_situations, write_situations


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
    assert found["always_the_same"] == pytest.approx(max(right, 20 - right) / 20)
    assert judge(AutoPolicy(), situations)["pass_at_1"] > 0.5
