"""Raw graphs in: embedded, from files, generated, from OGB and PyG."""

from gnnflow.datasets.catalog import DATASETS, load
from gnnflow.datasets.files import from_files
from gnnflow.datasets.generate import generate
from gnnflow.datasets.pyg import from_pyg
from gnnflow.datasets.raw_graph import RawGraph
from gnnflow.datasets.row_source import ArrayRows, RowSource

__all__ = [
    "DATASETS",
    "ArrayRows",
    "RawGraph",
    "RowSource",
    "from_files",
    "from_pyg",
    "generate",
    "load",
]
