"""Graphs of PyTorch Geometric."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.datasets.files import classes_of
from gnnflow.datasets.raw_graph import RawGraph
from gnnflow.datasets.row_source import ArrayRows, float_rows
from gnnflow.errors import DataError

if TYPE_CHECKING:
    from torch_geometric.data import Data

CLASSES = {"reddit": "Reddit", "yelp": "Yelp"}
"""Class of each named graph in `torch_geometric.datasets`."""


def from_pyg(data: "Data", name: str = "pyg") -> RawGraph:
    """Makes a raw graph of a PyG `Data` object; arrays are shared, not copied, where types allow.

    `x`, `y`, `edge_index`, `edge_attr`, `train_mask`, `val_mask` and `test_mask` are taken.

    Args:
        data: A homogeneous graph in memory.
        name: Name of the graph.

    Raises:
        DataError: There is no `edge_index`, or a mask holds several splits.
    """
    if data.edge_index is None:
        raise DataError(
            "the Data object has no edge_index; "
            "make one of adj_t with torch_geometric.utils.to_edge_index"
        )
    arrays: dict[str, ArrayRows] = {}
    num_classes = 0
    if data.x is not None:
        arrays["x"] = float_rows(_to_numpy(data.x))
    if data.y is not None:
        y, num_classes = classes_of(_to_numpy(data.y), "the Data object")
        arrays["y"] = ArrayRows(y)
    splits = {}
    for split in ("train", "val", "test"):
        mask = getattr(data, f"{split}_mask", None)
        if mask is None:
            continue
        if mask.dim() != 1:
            raise DataError(
                f"{split}_mask has shape {list(mask.shape)}: several splits; "
                f"choose one, as data.{split}_mask = data.{split}_mask[:, 0]"
            )
        splits[split] = np.flatnonzero(_to_numpy(mask)).astype(np.int64)
    return RawGraph(
        name=name,
        source=f"PyTorch Geometric {name}",
        num_vertices=int(data.num_nodes),
        edges=_to_numpy(data.edge_index),
        arrays=arrays,
        splits=splits,
        num_classes=num_classes,
        edge_attr=None if data.edge_attr is None else _to_numpy(data.edge_attr),
    )


def load_pyg(name: str, root: Path) -> RawGraph:
    """Loads a named graph from `root/NAME`, where PyG keeps its `raw` and `processed` folders.

    Raises:
        DataError: The files are not there and cannot be downloaded, or are damaged.
    """
    from torch_geometric import datasets

    folder = root / name
    try:
        data = getattr(datasets, CLASSES[name])(str(folder))[0]
    except Exception as error:  # whatever a network, a disk or an archive may do
        raise DataError(
            f"{name} is not in {root}: PyG could neither read nor download it ({error}); put its "
            f"files {', '.join(_raw_files(name))} into {folder / 'raw'}"
        ) from error
    return from_pyg(data, name)


def _raw_files(name: str) -> list[str]:
    """Returns the names of the raw files, which PyG keeps in a property of an object."""
    from torch_geometric import datasets

    names: list[str] = getattr(datasets, CLASSES[name]).raw_file_names.fget(None)
    return names


def _to_numpy(tensor: Any) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().numpy()
    return array
