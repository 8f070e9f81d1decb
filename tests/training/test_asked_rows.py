"""The least traffic of a run, remembered while it trains."""

import json

import numpy as np
import pytest

import gnnflow
from gnnflow.cache.belady import belady_hits
from gnnflow.errors import DataError
from gnnflow.loader import MinibatchCost
from gnnflow.replay.optimum import Optimum
from gnnflow.training.records.asked_rows import AskedRows, write_optimum


def remember(minibatches, **options):
    asked = AskedRows(**options)
    for ids in minibatches:
        asked.add(0, MinibatchCost(sample_s=0.0, remote_ids=ids), metrics=None)
    return asked


@pytest.fixture
def minibatches():
    draw = np.random.default_rng(0)
    few = [np.unique(draw.integers(0, 40, 15)) for _ in range(12)]
    return [*few, np.zeros(0, dtype=np.int64), few[0] + 2**40]


def test_it_is_beladys(minibatches, tmp_path):
    with gnnflow.init(threads=1) as ctx:
        write_optimum(tmp_path, remember(minibatches), 9, ctx)
    read = Optimum.read(tmp_path)
    assert read.hits.tolist() == belady_hits(minibatches, 9).tolist()
    assert (read.capacity_rows, read.left_out) == ([9], None)
    assert [path.name for path in tmp_path.iterdir()] == ["optimum.json"]


def test_too_much_is_forgotten_and_said(minibatches, tmp_path):
    asked = remember(minibatches, max_ids=500)
    assert asked.best_hits(9) is None
    with gnnflow.init(threads=1) as ctx:
        write_optimum(tmp_path, asked, 9, ctx)
    content = json.loads((tmp_path / "optimum.json").read_text())
    assert content["hits"] is None and "with --trace they are kept" in content["left_out"]


def test_a_run_that_had_nothing_left_to_do_keeps_what_was_noted(minibatches, tmp_path):
    with gnnflow.init(threads=1) as ctx:
        for asked in (remember(minibatches), AskedRows()):
            write_optimum(tmp_path, asked, 9, ctx)
    assert Optimum.read(tmp_path).hits.sum() > 0


def test_no_file_and_a_damaged_one(tmp_path):
    assert Optimum.read(tmp_path) is None
    (tmp_path / "optimum.json").write_text("{}")
    with pytest.raises(DataError, match="damaged"):
        Optimum.read(tmp_path)
