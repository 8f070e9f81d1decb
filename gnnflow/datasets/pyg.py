"""Graphs of PyTorch Geometric."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.datasets.edge_arrays import choose_edge_array
from gnnflow.datasets.raw_graph import RawGraph
from gnnflow.datasets.row_source import ArrayRows
from gnnflow.datasets.segments import Segment, vertex_arrays
from gnnflow.errors import DataError

if TYPE_CHECKING:
    from torch_geometric.data import Data, HeteroData

CLASSES = {"reddit": "Reddit", "yelp": "Yelp"}
"""Class of each named graph in `torch_geometric.datasets`."""


def from_pyg(data: "Data | HeteroData", name: str = "pyg") -> RawGraph:
    """Makes a raw graph of a PyG object; arrays are shared, not copied, where types allow.

    Of a `Data`, `x`, `y`, `edge_index`, `edge_attr`, `train_mask`, `val_mask` and `test_mask` are
    taken. Of a `HeteroData` also all other arrays that every type of vertices has; types follow
    each other in their order, as in `to_homogeneous`, and become the array `node_type` and, where
    there are several of edges, the last column of `edge_attr`. Features must be equally wide.

    Args:
        data: A graph in memory.
        name: Name of the graph.

    Raises:
        DataError: There are no edges, a mask holds several splits, or types of vertices have
            features of different widths.
    """
    from torch_geometric.data import HeteroData

    if isinstance(data, HeteroData):
        return _from_hetero(data, name)
    if data.edge_index is None:
        raise _no_edges("the Data object")
    known = ("x", "y", "train_mask", "val_mask", "test_mask")
    segment = Segment(
        where="the Data object",
        num_rows=int(data.num_nodes),
        arrays={key: _to_numpy(data[key]) for key in known if getattr(data, key, None) is not None},
    )
    found = vertex_arrays([segment])
    return RawGraph(
        name=name,
        source=f"PyTorch Geometric {name}",
        num_vertices=segment.num_rows,
        edges=_to_numpy(data.edge_index),
        arrays=found.arrays,
        splits=found.splits,
        num_classes=found.num_classes,
        edge_attr=None if data.edge_attr is None else _to_numpy(data.edge_attr),
    )


def _from_hetero(data: "HeteroData", name: str) -> RawGraph:
    vertices, first_id, total = [], {}, 0
    for kind in data.node_types:
        store = data[kind]
        size = int(store.num_nodes)
        vertices.append(Segment(where=f"type '{kind}'", num_rows=size, arrays=_arrays(store, size)))
        first_id[kind], total = total, total + size
    edges, ends = [], []
    for kind in data.edge_types:
        store = data[kind]
        where = f"type {kind}"
        if getattr(store, "edge_index", None) is None:
            raise _no_edges(where)
        index = _to_numpy(store.edge_index)
        ends.append(index + np.array([[first_id[kind[0]]], [first_id[kind[2]]]]))
        size = index.shape[1]
        edges.append(Segment(where=where, num_rows=size, arrays=_arrays(store, size)))
    if not edges:
        raise _no_edges("the HeteroData object")
    found = vertex_arrays(vertices)
    arrays = dict(found.arrays)
    kinds = f"types of vertices: {len(vertices)}, of edges: {len(edges)}"
    if len(vertices) > 1:
        numbers = np.arange(len(vertices), dtype=np.int32)
        arrays["node_type"] = ArrayRows(np.repeat(numbers, [one.num_rows for one in vertices]))
    return RawGraph(
        name=name,
        source=f"PyTorch Geometric {name}, {kinds}",
        num_vertices=total,
        edges=np.concatenate(ends, axis=1),
        arrays=arrays,
        splits=found.splits,
        num_classes=found.num_classes,
        edge_attr=choose_edge_array(edges, range(len(edges)), None, num_types=len(edges)),
    )


def _arrays(store: Any, num_rows: int) -> dict[str, NDArray[Any]]:
    """Returns the tensors of a type that have a row for each of its vertices or edges."""
    return {
        key: _to_numpy(value)
        for key, value in store.items()
        if key != "edge_index" and getattr(value, "shape", ())[:1] == (num_rows,)
    }


def _no_edges(where: str) -> DataError:
    return DataError(
        f"{where} has no edge_index; make one of adj_t with torch_geometric.utils.to_edge_index"
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
