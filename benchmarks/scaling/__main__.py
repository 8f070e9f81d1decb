"""Scaling: measured with the ranks that run here, estimated beyond, and the largest graph.

    python -m benchmarks.scaling [--quick] [--json FILE] [--sections strong,weak,estimated,...]

`strong` and `weak` train on 1, 2, 4 and 8 ranks of this machine, with messages between all of them,
and count each rank's processor seconds and bytes. `estimated` cuts a graph of a million vertices
into 16 to 1024 parts by METIS and estimates epochs from the minibatches that some of the ranks
would take. `setup` measures what a rank does before its first minibatch on 4, 16 and 64 parts of a
graph that grows with them. `largest` cuts and trains 10 million vertices with 200 million edges.
The file keeps sections that are not run again; `python -m benchmarks.results` makes docs/results.md
of it.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks._harness import parser_of
from benchmarks.scaling import estimated, largest, measured, set_up
from gnnflow.errors import GnnflowError
from gnnflow.files.json_text import to_json_text

FILE = Path("docs/results/scaling.json")
SECTIONS = ("strong", "weak", "estimated", "setup", "largest")


def run_section(section: str, found: dict[str, Any], *, quick: bool) -> Iterator[Any]:
    """Runs one section; yields what is known after each of its parts.

    `estimated` needs what two ranks of `strong` took.

    Raises:
        GnnflowError: If a command fails, or `strong` has not been run.
    """
    if section == "strong":
        yield measured.measure(measured.QUICK if quick else measured.STRONG)
        return
    if section == "weak":
        yield measured.measure(measured.WEAK)
        return
    if section == "largest":
        yield largest.cut_and_train(largest.QUICK_GRAPH if quick else largest.GRAPH)
        return
    if section == "setup":
        rows: list[dict[str, Any]] = []
        for row in set_up.measure(set_up.QUICK if quick else set_up.FULL):
            rows.append(row)
            yield rows
        return
    if "strong" not in found:
        raise GnnflowError("section 'estimated' needs 'strong', which says what ranks take")
    two = next((row for row in found["strong"] if row["ranks"] == 2), None)
    if two is None or not two["sampled_vertices"]:
        raise GnnflowError("section 'estimated' needs what two ranks took: run section 'strong'")
    seconds = 2 * two["processor_s"] / two["sampled_vertices"]
    rows = []
    for row in estimated.estimate(estimated.QUICK if quick else estimated.FULL, seconds):
        rows.append(row)
        yield rows


def main() -> None:
    """Runs the benchmark."""
    parser = parser_of("benchmarks.scaling", __doc__)
    parser.add_argument("--quick", action="store_true", help="small graphs, within a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help=f"figures ({FILE})")
    parser.add_argument("--sections", help=f"some of {','.join(SECTIONS)}")
    given = parser.parse_args()
    path = given.json or (None if given.quick else FILE)
    default = ("strong", "estimated") if given.quick else SECTIONS
    sections = tuple(given.sections.split(",")) if given.sections else default
    if unknown := set(sections) - set(SECTIONS):
        sys.exit(f"unknown sections {', '.join(sorted(unknown))}; known: {', '.join(SECTIONS)}")
    found = json.loads(path.read_text()) if path is not None and path.exists() else {}
    for section in sections:
        try:
            for figures in run_section(section, found, quick=given.quick):
                found[section] = figures
                if path is not None:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(to_json_text(found, indent=1) + "\n")
        except GnnflowError as error:
            sys.exit(f"benchmarks.scaling: {error}")
        print(to_json_text({section: found[section]}, indent=1))


if __name__ == "__main__":
    main()
