"""The matrix: graphs x parts x budgets x links x what decides about the cache.

`cells.py` says what is run, `runs.py` runs one cell, `bounds.py` finds by replay what is best and
what is possible, and `python -m benchmarks.matrix` runs them in turn.
"""
