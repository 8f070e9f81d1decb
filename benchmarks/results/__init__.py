"""Makes docs/results.md of the figures that the matrix and the scaling benchmark left.

`python -m benchmarks.results` rewrites the tables between the page's markers and the pictures.
"""
