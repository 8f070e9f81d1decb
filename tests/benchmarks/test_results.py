import json
from dataclasses import asdict

import pytest

from benchmarks.matrix.cells import Cell
from benchmarks.results import figures, matrix_tables
from benchmarks.results.__main__ import DOCS, MATRIX, PAGE, SCALING, make_page
from benchmarks.results.markdown import rewrite, table
from benchmarks.results.records import Matrix, human_rate


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
    for name in figures.PICTURES:
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
    assert "| DistDGL 1.1.3 | 3 | **3.00** |" in goals
    assert "| no cache | 1.91 | **2.00** |" in goals
    assert "| static, best period | 1.5 | **1.50** |" in goals
    assert "not reached; most is 1.50, lookahead on sbm, 2 parts, 200 Mbit/s, 25 %" in goals


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
