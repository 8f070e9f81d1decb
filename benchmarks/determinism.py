"""What is the same in two runs of one seed, and what differs across ranks and threads.

    python -m benchmarks.determinism [--json FILE]

Trains on a generated graph with the same seed and the same number of seeds in a job-wide
minibatch, and compares losses and scores with those of the first run.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import _commands as commands
from benchmarks._harness import parser_of, write_json
from gnnflow.terminal import PlainConsole, Table

GRAPH = "sbm:vertices=20000,edges=200000"
JOB_BATCH = 400
OPTIONS = {"epochs": 4, "fanout": "10,5", "hidden": 32, "eval-every": 0}
# Name, ranks, threads of a rank, further options.
RUNS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("4 ranks", 4, 1, ()),
    ("4 ranks, again", 4, 1, ()),
    ("4 ranks, messages", 4, 1, ("--transport", "alltoall")),
    ("4 ranks, no prefetching", 4, 1, ("--prefetch-depth", "0")),
    ("4 ranks, another cache", 4, 1, ("--scorer", "lru", "--cache-fraction", "0.05")),
    ("4 ranks, 2 threads each", 4, 2, ()),
    ("2 ranks", 2, 1, ()),
    ("1 rank", 1, 1, ()),
)


def train(
    parts: Path, out: Path, ranks: int, threads: int, further: tuple[str, ...]
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Trains; returns the loss of each step over all seeds of the job, and the summary."""
    options = {"ranks": ranks, "threads": threads, "batch-size": JOB_BATCH // ranks}
    summary = commands.train(parts, out, OPTIONS | options, *further)
    losses: dict[tuple[int, int], float] = {}
    for step in commands.steps_of(out):
        key = (step["epoch"], step["step"])
        losses[key] = losses.get(key, 0.0) + step["weight"] * step["loss"]
    return np.array([losses[key] for key in sorted(losses)]), summary


def main() -> None:
    """Entry point."""
    parser = parser_of("benchmarks.determinism", __doc__)
    parser.add_argument("--json", type=Path, help="where the rows go")
    arguments = parser.parse_args()
    table = Table(title="against the first run", title_justify="left")
    for column in ("run", "same bits", "largest difference of a step's loss", "test score"):
        table.add_column(column, justify="left" if column == "run" else "right")
    rows = []
    with tempfile.TemporaryDirectory(prefix="determinism-") as scratch:
        folder = Path(scratch)
        for ranks in (4, 2, 1):
            commands.make_parts(folder / f"parts-{ranks}", ranks, "--generate", GRAPH)
        first = np.zeros(0)
        for number, (name, ranks, threads, further) in enumerate(RUNS):
            out = folder / str(number)
            losses, summary = train(folder / f"parts-{ranks}", out, ranks, threads, further)
            first = losses if not number else first
            same = bool(np.array_equal(losses, first))
            steps = min(len(losses), len(first))
            largest = float(np.abs(losses[:steps] / first[:steps] - 1).max())
            score = summary["epochs"][-1]["test_accuracy"]
            rows.append({"run": name, "same": same, "largest": largest, "score": score})
            table.add_row(name, "yes" if same else "no", f"{largest:.1e}", f"{score:.4f}")
    PlainConsole().print(table)
    write_json(arguments.json, rows, indent=1)


if __name__ == "__main__":
    main()
