import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from gnnflow.partition import open_partition, read_manifest

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_dataset.py"


def test_the_example_writes_a_partition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "parts"
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), "--out", str(out), "--num-papers", "500"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert "500 vertices in 2 parts" in capsys.readouterr().out
    assert read_manifest(out).num_classes == 3
    original_ids = [open_partition(out, part).original_id for part in (0, 1)]
    assert np.array_equal(np.sort(np.concatenate(original_ids)), np.arange(500))
