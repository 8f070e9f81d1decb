import json
from dataclasses import asdict, replace

import pytest

from benchmarks.hyperparameters import HYPERPARAMETERS
from benchmarks.matrix.cells import Cell
from benchmarks.results import matrix_tables, pictures, scaling_tables
from benchmarks.results.__main__ import DOCS, MATRIX, PAGE, SCALING, make_page
from benchmarks.results.markdown import rewrite, table
from benchmarks.results.matrix_records import Matrix, human_rate
from benchmarks.scaling.__main__ import run_section
from gnnflow.errors import GnnflowError
from gnnflow.policies.rivals import RIVALS


def run(
    policy: str, *epochs_s: float, budget: int = 25, rate: str = "200mbit"
) -> dict[str, object]:
    cell = Cell(graph="sbm", parts=2, rate=rate, budget=budget, policy=policy)
    figures = {"volume_rows": 40, "rows_without_cache": 100, "hit_rate": 0.6}
    return {"kind": "run", **asdict(cell), "epoch_time_s": list(epochs_s), **figures}


def test_the_page_is_what_the_command_makes_of_the_figures():
    page = (DOCS / PAGE).read_text(encoding="utf-8")
    scaling = json.loads((DOCS / SCALING).read_text())
    made = make_page(page, Matrix.read(DOCS / MATRIX), scaling)
    assert made == page, (
        "docs/results.md is not what `python -m benchmarks.results` makes of docs/results"
    )


def test_the_page_shows_every_picture():
    page = (DOCS / PAGE).read_text(encoding="utf-8")
    for name in pictures.PICTURES:
        assert f"(results/{name}.png)" in page
        assert (DOCS / "results" / f"{name}.png").stat().st_size < 200_000


def test_medians_over_runs_of_the_last_epochs():
    matrix = Matrix(
        [run("static", 9, 2, 3, 4), run("static", 9, 4, 5, 6), run("static", 9, 9, 7, 5, 6)]
    )
    (result,) = matrix.results
    assert result.epochs_s == [3, 5, 6]
    assert result.epoch_s == 5
    assert result.volume == pytest.approx(0.4)


def test_goals_are_met_where_the_ratio_is_large_enough():
    matrix = Matrix(
        [
            run("distdgl", 6.0, budget=0),
            run("none", 4.0, budget=0),
            run("static", 3.0),
            run("lookahead", 2.0),
        ]
    )
    goals = matrix_tables.goals(matrix)
    assert "| DistDGL 1.1.3 | 3 | **3.00** † |" in goals
    assert "| no cache | 1.91 | **2.00** |" in goals
    assert "| static, best period | 1.5 | **1.50** |" in goals
    assert "not reached; most is 1.50, lookahead on sbm, 2 parts, 200 Mbit/s, 25 %" in goals


def told(policy: str, *runs: tuple[float, float], epochs: int = 4, **changes: object) -> list[dict]:
    """Lines of runs with validation and test accuracies, one seed after the other."""
    lines = []
    for seed, (val, test) in enumerate(runs):
        hyper = replace(HYPERPARAMETERS, epochs=epochs, seed=seed, **changes).to_json()
        lines.append(
            run(policy, 6.0 if policy == "distdgl" else 2.0, budget=25 * (policy != "distdgl"))
            | {"val_accuracy": val, "test_accuracy": test, "hyperparameters": hyper}
        )
    return lines


def test_accuracies_stand_beside_ratios_and_marks_say_when_they_differ():
    theirs = told("distdgl", (0.80, 0.70), (0.82, 0.72))
    alike = Matrix([*theirs, *told("lookahead", (0.81, 0.72), (0.82, 0.71))])
    assert "**3.00** (0.815, 0.715 / 0.810, 0.710) |" in matrix_tables.goals(alike)
    assert "| 3.00 |" in matrix_tables.epochs(alike)
    assert "1 pairs with DistDGL: 0 are further apart than seeds" in matrix_tables.published(alike)
    better = Matrix([*theirs, *told("lookahead", (0.91, 0.72), (0.92, 0.71))])
    assert "**3.00** (0.915, 0.715 / 0.810, 0.710) ‡ |" in matrix_tables.goals(better)
    assert "| 3.00 ‡ |" in matrix_tables.epochs(better)
    assert "1 pairs with DistDGL: 1 are further apart than seeds" in matrix_tables.published(better)


def test_accuracies_of_lines_that_do_not_say_what_they_trained_with():
    old = [run("distdgl", 6.0, 6.0, budget=0), *told("lookahead", (0.9, 0.9))]
    assert "| 3.00 † |" in matrix_tables.epochs(Matrix(old))
    ours = [run("none", 6.0, 6.0, budget=0), run("lookahead", 3.0, 3.0)]
    assert "| 2.00 |" in matrix_tables.epochs(Matrix(ours))
    ours[1] = run("lookahead", 3.0, 3.0, 3.0)
    assert "| 2.00 † |" in matrix_tables.epochs(Matrix(ours))


@pytest.mark.parametrize("change", [{"lr": 0.003}, {"epochs": 14}, {"dropout": 0.2}], ids=str)
def test_times_of_different_trainings_are_not_compared(change):
    ours, theirs = told("lookahead", (0.9, 0.9)), told("distdgl", (0.9, 0.9), **change)
    with pytest.raises(ValueError, match="trained with"):
        matrix_tables.epochs(Matrix([*ours, *theirs]))
    with pytest.raises(ValueError, match="trained with"):
        matrix_tables.epochs(Matrix([*ours, *told("lookahead", (0.9, 0.9), **change)]))


def replay(**changes):
    line = {
        "kind": "replay",
        "graph": "sbm",
        "parts": 2,
        "budget": 25,
        "vertices": 10,
        "edges": 20,
        "features": "4 float32",
        "train_seeds": 5,
        "edge_cut": 0.1,
        "fill": "degree",
        "period": 10,
        "alpha": 0.2,
        "classifier": "lr",
        "volume_by_schedule": {"fill degree, every 10, alpha 0.2": 0.5},
        "volume_by_classifier": {"lr": 0.6},
        "lookahead_volume": 0.3,
        "belady_volume": 0.3,
        "rows_without_cache": 100,
        "row_bytes": 4,
    }
    return line | changes


def decided(policy: str, **figures: float | None) -> dict[str, object]:
    return run(policy, 2.0) | {"policy_figures": figures}


def test_pass_at_1_is_shown_beside_its_rivals_or_not_at_all():
    rivals = dict(zip(RIVALS, (0.95, 0.05, 0.97), strict=True))
    matrix = Matrix([decided("auto", pass_at_1=0.94, **rivals), decided("bandit", pass_at_1=0.91)])
    shown = matrix_tables.epochs(matrix)
    assert "| hits | volume | Pass@1 | always no | always yes | one threshold | answer |" in shown
    assert "| 0.94 | 0.95 | 0.05 | 0.97 |" in shown
    assert "0.91" not in shown
    # Where no run has them there are no columns for them.
    assert "Pass@1" not in matrix_tables.epochs(Matrix([decided("bandit", pass_at_1=0.91)]))


def test_the_schedule_of_static_has_its_alpha():
    line = run("static", 2.0) | {"period": 10, "fill": "degree", "alpha": 0.2}
    assert "best period (10, fill degree, alpha 0.2)" in matrix_tables.epochs(Matrix([line]))
    assert "50.0 % (fill degree, every 10, alpha 0.2)" in matrix_tables.possible(Matrix([replay()]))


def test_tables_do_without_what_is_not_there():
    lines = [run("none", 0.0, budget=0), run("static", 3.0), run("lookahead", 0.0), replay()]
    lines[1] |= {"period": 10, "fill": "degree"}
    without = replay(classifier=None, volume_by_classifier={}, budget=50)
    for present in ([], lines[:1], lines[:2], lines[2:3], [without], [*lines, without]):
        matrix = Matrix(present)
        for make in (
            matrix_tables.graphs,
            matrix_tables.goals,
            matrix_tables.published,
            matrix_tables.bounds,
            matrix_tables.possible,
            matrix_tables.epochs,
        ):
            assert isinstance(make(matrix), str)
    page = (DOCS / PAGE).read_text(encoding="utf-8")
    assert "0 runs of 0 cells" in make_page(page, Matrix([]), {})


def test_pictures_do_without_what_is_not_there(monkeypatch):
    monkeypatch.setattr(pictures, "BUDGET", 25)
    slow = [run("static", 3.0, budget=5), run("static", 3.0, budget=50)]
    for lines in ([], slow, [run("lookahead", 0.0, rate="1gbit")]):
        for make in pictures.PICTURES.values():
            make(Matrix(lines), {"strong": [], "estimated": []})


def test_scaling_needs_two_ranks_to_estimate():
    for rows in ([], [{"ranks": 1}], [{"ranks": 2, "processor_s": 1.0, "sampled_vertices": 0}]):
        with pytest.raises(GnnflowError, match="section 'strong'"):
            next(run_section("estimated", {"strong": rows}, quick=True))
    assert scaling_tables.measured([], grows=True).count("\n") == 1


def test_markers_and_parts_belong_together():
    page = "a\n<!-- begin: x -->\nold\n<!-- end: x -->\nb\n"
    made = rewrite(page, {"x": "new"})
    assert made == "a\n<!-- begin: x -->\n\nnew\n\n<!-- end: x -->\nb\n"
    assert rewrite(made, {"x": "new"}) == made
    with pytest.raises(ValueError, match="markers"):
        rewrite(page, {"y": "new"})
    with pytest.raises(ValueError, match="lacks"):
        rewrite(page.replace("end: x", "end: z"), {"x": "new"})


def test_tables_and_rates():
    assert table(["a", "b"], [["1", ""]]) == "| a | b |\n| --- | --- |\n| 1 |  |"
    assert (human_rate("200mbit"), human_rate("10gbit")) == ("200 Mbit/s", "10 Gbit/s")
