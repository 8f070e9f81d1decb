"""Raw graphs in: embedded, read from files or other frameworks, generated; `load` goes by name."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from gnnflow.datasets.debian.debian_contents import load_debian_contents
from gnnflow.datasets.debian.debian_packages import load_debian_packages
from gnnflow.datasets.generated.generate import generate
from gnnflow.datasets.raw_graph import RawGraph
from gnnflow.datasets.readers.distdgl import from_distdgl
from gnnflow.datasets.readers.ogb import GRAPHS as OGB_GRAPHS
from gnnflow.datasets.readers.ogb import load_ogb
from gnnflow.datasets.readers.pyg import CLASSES as PYG_CLASSES
from gnnflow.datasets.readers.pyg import from_pyg, load_pyg
from gnnflow.datasets.readers.pyg_partition import from_pyg_partition
from gnnflow.datasets.readers.user_files import from_files, read_edge_weights
from gnnflow.datasets.row_source import ArrayRows, RowSource
from gnnflow.datasets.split_spec import with_split
from gnnflow.errors import DataError, did_you_mean

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
    "read_edge_weights",
    "with_split",
]

DATASETS: dict[str, Callable[[Path], RawGraph]] = {
    "debian-packages": lambda root: load_debian_packages(),
    "debian-contents": lambda root: load_debian_contents(),
    **{name: partial(load_ogb, name) for name in OGB_GRAPHS},
    **{name: partial(load_pyg, name) for name in PYG_CLASSES},
}
"""Loader of each named graph; it gets the folder that holds downloaded files."""

DEFAULT_ROOT = Path("data")
"""Folder of downloaded files when none is given."""


def load(name: str, root: str | Path | None = None) -> RawGraph:
    """Loads a graph by its name.

    Args:
        name: One of `DATASETS`.
        root: Folder of the files of graphs that are not embedded, by default `data`.

    Raises:
        DataError: The name is unknown, or the files are not there and cannot be downloaded.
        MissingExtraError: The graph is read by an optional package that is not installed.
    """
    if name not in DATASETS:
        hint = did_you_mean(name, DATASETS, cutoff=0.4) or ";"
        raise DataError(f"no dataset is named '{name}'{hint} known: {', '.join(DATASETS)}")
    return DATASETS[name](DEFAULT_ROOT if root is None else Path(root))
