"""Measurements against what users would otherwise pick: `python -m benchmarks.NAME`.

Each runs both sides in one go on the same machine. `--quick` ends within a minute on two cores,
`--json FILE` writes the rows: `name`, `ours`, `theirs`, `unit`, `against`, `ratio` and further
facts. A ratio above 1 means that gnnflow is better.
"""
