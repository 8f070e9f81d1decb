import runpy
from pathlib import Path

from gnnflow.policies import ReplacementPolicy

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_policy.py"


def test_the_example_decides(capsys):
    names = runpy.run_path(str(EXAMPLE))
    assert isinstance(names["WatchfulPolicy"](), ReplacementPolicy)
    names["main"]()
    said = [line.split()[1] for line in capsys.readouterr().out.splitlines()]
    assert said == ["keep", "keep", "keep", "replace", "keep"]
