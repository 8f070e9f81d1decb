"""How training grows: ranks that run here, thousands that are estimated, and the largest graph.

`python -m benchmarks.scaling` runs all of it.
"""
