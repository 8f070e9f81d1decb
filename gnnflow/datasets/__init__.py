"""Raw graphs in: embedded, from files, generated, from OGB, PyG and DistDGL."""

from gnnflow.datasets.catalog import DATASETS, load
from gnnflow.datasets.distdgl import from_distdgl
from gnnflow.datasets.files import from_files
from gnnflow.datasets.generate import generate
from gnnflow.datasets.pyg import from_pyg
from gnnflow.datasets.pyg_partition import from_pyg_partition
from gnnflow.datasets.raw_graph import RawGraph
from gnnflow.datasets.row_source import ArrayRows, RowSource
from gnnflow.datasets.split_spec import with_split

__all__ = [
    "DATASETS",
    "ArrayRows",
    "RawGraph",
    "RowSource",
    "from_distdgl",
    "from_files",
    "from_pyg",
    "from_pyg_partition",
    "generate",
    "load",
    "with_split",
]
