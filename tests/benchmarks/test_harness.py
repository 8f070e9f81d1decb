import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from benchmarks._harness import Row, over, run_benchmark, take_turns
from benchmarks.hyperparameters import HYPERPARAMETERS
from benchmarks.peers.samplers import numpy_sampler
from gnnflow.errors import GnnflowError


def row(**changes):
    fields = {"name": "n/1", "ours": 8.0, "theirs": 2.0, "unit": "GB/s", "against": "peer"}
    return Row(**(fields | changes))


def test_a_ratio_above_one_means_that_ours_is_better():
    assert row().ratio == 4
    assert row(unit="ms").ratio == 0.25


def test_rows_go_to_the_file(tmp_path, monkeypatch, capsys):
    file = tmp_path / "rows.json"
    monkeypatch.setattr(sys, "argv", ["benchmark", "--quick", "--json", str(file)])

    def compare(options, report):
        assert options.quick and options.threads == 2
        report.add(row(facts={"rows": 3.0}))
        report.absent("another", "it does not install")

    run_benchmark("benchmarks.none", "Nothing.", "Nothing at all", compare)
    assert json.loads(file.read_text()) == [
        {
            "name": "n/1",
            "ours": 8.0,
            "theirs": 2.0,
            "unit": "GB/s",
            "against": "peer",
            "ratio": 4.0,
            "rows": 3.0,
        }
    ]
    shown = capsys.readouterr().out
    assert "Nothing at all, 2 threads" in shown
    assert "Not compared with another: it does not install" in shown


def test_sides_take_turns_and_the_first_round_does_not_count():
    calls = []
    values = {"a": iter([100.0, 1.0, 5.0, 3.0]), "b": iter([200.0, 2.0, 2.0, 9.0])}

    def side(name):
        return lambda: calls.append(name) or next(values[name])

    medians = take_turns({"a": side("a"), "b": side("b")}, rounds=3, limit_s=60)
    assert medians == {"a": 3.0, "b": 2.0}
    assert calls == ["a", "b"] * 4


def test_one_round_counts_even_when_time_is_up():
    assert take_turns({"a": lambda: 7.0}, rounds=50, limit_s=0) == {"a": 7.0}


@pytest.mark.parametrize("fanouts", [[100], [2, 3], [100, 100]])
def test_the_numpy_peer_samples_what_it_should(fanouts):
    rng = np.random.default_rng(0)
    indptr = np.arange(0, 501, 5)
    indices = rng.integers(0, 100, 500).astype(np.int32)
    hyper = replace(HYPERPARAMETERS, fanout=tuple(fanouts))
    sample = numpy_sampler(indptr, indices, lambda number: np.arange(10) + number, hyper)
    num_edges, num_vertices = sample(3)
    first = indices.reshape(100, 5)[3:13]
    if fanouts == [100]:
        assert num_edges == 50
        assert num_vertices == len(set(first.ravel().tolist()) | set(range(3, 13)))
    else:
        assert 10 * min(fanouts[0], 5) < num_edges <= 10 * 5 * (1 + 5)
    assert sample(3) == (num_edges, num_vertices)


def test_nothing_against_nothing_is_even():
    assert row(ours=0.0, theirs=0.0, unit="rows").ratio == 1
    assert row(ours=0.0, theirs=3.0, unit="rows").to_json()["ratio"] is None
    assert over(3, 2) == 1.5


def test_what_was_compared_is_shown_before_the_line_of_an_error(tmp_path, monkeypatch, capsys):
    file = tmp_path / "rows.json"
    monkeypatch.setattr(sys, "argv", ["benchmark", "--json", str(file)])

    def compare(options, report):
        report.add(row())
        raise GnnflowError("the link is down")

    with pytest.raises(SystemExit, match=r"^benchmarks\.none: the link is down$"):
        run_benchmark("benchmarks.none", "Nothing.", "Half of it", compare)
    assert "Half of it" in capsys.readouterr().out
    assert [each["name"] for each in json.loads(file.read_text())] == ["n/1"]
