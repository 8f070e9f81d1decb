"""Rewrites docs/results.md and its pictures from the figures that benchmarks left.

    python -m benchmarks.results [--docs DIR]

Reads `results/matrix.jsonl` and `results/scaling.json` in the folder of the pages.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks._harness import parser_of
from benchmarks.results import matrix_tables, pictures, scaling_tables
from benchmarks.results.markdown import rewrite
from benchmarks.results.matrix_records import Matrix

DOCS = Path(__file__).parents[2] / "docs"
PAGE = "results.md"
MATRIX, SCALING = "results/matrix.jsonl", "results/scaling.json"


def make_page(page: str, matrix: Matrix, scaling: dict[str, Any]) -> str:
    """Returns the page with its tables made anew.

    Raises:
        ValueError: If the page lacks markers.
    """
    num_repeats = [len(result.lines) for result in matrix.results] or [0]
    size = (
        f"{matrix.num_runs} runs of {len(matrix.results)} cells, {min(num_repeats)} to "
        f"{max(num_repeats)} of each; {matrix.num_disturbed} further ones do not count, because "
        "other programs were busy meanwhile."
    )
    parts = {
        "size": size,
        "graphs": matrix_tables.graphs(matrix),
        "goals": matrix_tables.goals(matrix),
        "published": matrix_tables.published(matrix),
        "bounds": matrix_tables.bounds(matrix),
        "possible": matrix_tables.possible(matrix),
        "epochs": matrix_tables.epochs(matrix),
    }
    sections: dict[str, Callable[[Any], str]] = {
        "strong": partial(scaling_tables.measured, grows=False),
        "weak": partial(scaling_tables.measured, grows=True),
        "estimated": scaling_tables.estimated,
        "largest": scaling_tables.largest,
    }
    for name, make in sections.items():
        parts[name] = make(scaling[name]) if name in scaling else "Not measured yet."
    return rewrite(page, parts)


def main() -> None:
    """Makes page and pictures."""
    parser = parser_of("benchmarks.results", __doc__)
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of the pages (docs)")
    docs = parser.parse_args().docs
    try:
        matrix = Matrix.read(docs / MATRIX)
        scaling = json.loads((docs / SCALING).read_text())
        made = make_page((docs / PAGE).read_text(encoding="utf-8"), matrix, scaling)
    except (OSError, ValueError) as error:
        sys.exit(f"benchmarks.results: {error}")
    (docs / PAGE).write_text(made, encoding="utf-8")
    for picture in pictures.draw(matrix, scaling, docs / "results"):
        print(picture)


if __name__ == "__main__":
    main()
