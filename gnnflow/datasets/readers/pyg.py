"""Graphs of PyTorch Geometric."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gnnflow.datasets import structure
from gnnflow.datasets.array_kinds import LabelTask, vertex_ids
from gnnflow.datasets.raw_graph import RawGraph
from gnnflow.datasets.readers.edge_arrays import choose_edge_array, choose_edge_weights
from gnnflow.datasets.readers.segments import Segment, vertex_arrays
from gnnflow.datasets.readers.user_files import count_vertices
from gnnflow.datasets.row_source import ArrayRows
from gnnflow.datasets.split_spec import with_split
from gnnflow.errors import DataError, one_line
from gnnflow.files.whole_file import made_folders


def to_numpy(value: Any, what: str) -> NDArray[Any]:
    """Returns the numbers of a tensor, without a copy where numpy has its type.

    bfloat16 and narrower floats become float32, sparse tensors dense.

    Args:
        value: A tensor of torch, a `SparseTensor` of torch-sparse, or an array.
        what: What it is, for messages.

    Raises:
        DataError: It is none of these, or does not fit into memory.
    """
    import torch

    if isinstance(value, np.ndarray):
        return value
    if not isinstance(value, torch.Tensor) and not hasattr(value, "to_dense"):
        raise DataError(f"{what} is a {type(value).__name__}; make it a tensor")
    kind = f"{getattr(value, 'dtype', type(value).__name__)} of shape {_shape(value)}"
    try:
        plain = value if isinstance(value, torch.Tensor) else value.to_dense()
        plain = plain.detach().cpu()
        if plain.layout != torch.strided:
            plain = plain.to_dense()
        plain = plain.as_subclass(torch.Tensor)  # of PyG's own kinds
        if plain.is_quantized:
            plain = plain.dequantize()
        plain = plain.resolve_conj().resolve_neg()
        try:
            array: NDArray[Any] = plain.numpy()
        except TypeError:  # a type that numpy lacks
            array = plain.float().numpy()
    except (TypeError, RuntimeError, MemoryError) as error:
        raise DataError(
            f"cannot use {what}, {kind}: {one_line(error)[:200]}; make it a dense tensor of numbers"
        ) from error
    return array


def _shape(value: Any) -> list[int]:
    sizes = value.sizes() if hasattr(value, "sizes") else value.shape
    return [int(size) for size in sizes]


if TYPE_CHECKING:
    from torch_geometric.data import Data, Dataset, HeteroData

logger = logging.getLogger(__name__)

CLASSES = {"reddit": "Reddit", "yelp": "Yelp"}
"""Class of each named graph in `torch_geometric.datasets`."""

_OF_VERTICES = ("x", "y", "train_mask", "val_mask", "test_mask")


def from_pyg(
    data: "Data | HeteroData | Dataset",
    name: str = "pyg",
    *,
    features: str | None = None,
    task: LabelTask = "auto",
    split: str | None = None,
    seed: int = 0,
) -> RawGraph:
    """Makes a raw graph of a PyG object; arrays are shared, not copied, where types allow.

    Every array with a row for each vertex is kept under its name, and one with a row for each
    edge as `edge_attr`; what is left out is named in a warning. Without `x`, features are made
    from the degrees. Wide floats of `x` and of edges become float32, as those of files do.
    `edge_weight` is kept as weights that neighbours may be drawn by, too.

    Types of a `HeteroData` follow each other in their order, as in `to_homogeneous`, and become the
    array `node_type` and, where there are several of edges, the last column of `edge_attr`.
    Features must be equally wide, and other arrays are kept that every type of vertices has.

    Args:
        data: A graph in memory, or a dataset of one graph.
        name: Name of the graph.
        features: Name of the array that holds features, by default `x`; or `degree` or `learned`,
            features made from the edges.
        task: What labels are; `auto` goes by their values.
        split: `random:0.6,0.2,0.2` and so on, as `with_split` takes it, in place of the masks.
        seed: Seed of such a split and of `learned` features.

    Raises:
        DataError: There are no edges, a mask holds several splits, types of vertices have
            features of different widths, or a dataset has several graphs.
    """
    from torch_geometric.data import Data, Dataset, HeteroData

    if isinstance(data, Dataset):
        if len(data) != 1:
            raise DataError(
                f"{type(data).__name__} holds {len(data)} graphs, and one is cut into parts: give "
                "that one, as from_pyg(dataset[0])"
            )
        data = data[0]
    made = features if features in structure.FEATURES else None
    named = None if made else features
    if isinstance(data, HeteroData):
        graph = _from_hetero(data, name, named, task)
    elif isinstance(data, Data):
        graph = _from_data(data, name, named, task)
    else:
        raise DataError(
            f"from_pyg takes a Data, a HeteroData or a dataset, got a {type(data).__name__}"
        )
    if made or "x" not in graph.arrays:
        graph = structure.with_features(graph, made, seed)
    return graph if split is None else with_split(graph, split, seed)


def _from_data(data: "Data", name: str, features: str | None, task: LabelTask) -> RawGraph:
    where = "the Data object"
    edges, weights = _edges_of(data, where)
    arrays = _beside_edges(data.to_dict()) | weights
    num_vertices, num_edges = _num_vertices(data, edges), edges.shape[1]
    of_vertices, of_edges = {}, {}
    for key in list(arrays):
        is_edge = _num_rows(key, arrays[key]) == num_edges
        is_vertex = _num_rows(key, arrays[key]) == num_vertices
        # PyG's rule where there are as many edges as vertices.
        if key in _OF_VERTICES or (is_vertex and not (is_edge and "edge" in key)):
            of_vertices[key] = arrays.pop(key)
        elif is_edge:
            of_edges[key] = arrays.pop(key)
    vertices = _segment(where, num_vertices, of_vertices, arrays)
    edge_table = _segment(where, num_edges, of_edges, arrays)
    _name_left_out(where, arrays)
    found = vertex_arrays([vertices], features=features, task=task)
    return RawGraph(
        name=name,
        source=f"PyTorch Geometric {name}",
        num_vertices=num_vertices,
        edges=edges,
        arrays=found.arrays,
        splits=found.splits,
        num_classes=found.num_classes,
        edge_attr=choose_edge_array([edge_table], [0], None, num_types=1),
        edge_weight=choose_edge_weights([edge_table]),
    )


def _from_hetero(data: "HeteroData", name: str, features: str | None, task: LabelTask) -> RawGraph:
    vertices, first_id, total = [], {}, 0
    for kind in data.node_types:
        size = int(data[kind].num_nodes)
        vertices.append(_store_segment(f"type '{kind}'", size, dict(data[kind].items())))
        first_id[kind], total = total, total + size
    edges, ends = [], []
    for kind in data.edge_types:
        where = f"type {kind}"
        index, weights = _edges_of(data[kind], where)
        ends.append(index + np.array([[first_id[kind[0]]], [first_id[kind[2]]]]))
        edges.append(_store_segment(where, index.shape[1], dict(data[kind].items()) | weights))
    if not edges:
        raise _no_edges("the HeteroData object")
    found = vertex_arrays(vertices, features=features, task=task)
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
        edge_weight=choose_edge_weights(edges),
    )


def _num_vertices(data: "Data", edges: NDArray[Any]) -> int:
    """Returns what the object says, or its arrays, or at last its edges."""
    if "num_nodes" not in data and "adj_t" not in data:
        for key in _OF_VERTICES:
            value = data.get(key)
            if hasattr(value, "shape"):
                return _num_rows(key, value)
        if not any(data.is_node_attr(key) for key in ("pos", "batch") if key in data):
            return count_vertices(edges, "num_nodes =")
    return int(data.num_nodes)


def _beside_edges(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns all but the edges and the number of vertices."""
    return {
        key: value
        for key, value in values.items()
        if key not in ("num_nodes", "edge_index", "adj_t")
        and not (key == "adj" and _is_sparse(value))
    }


def _is_sparse(value: Any) -> bool:
    return hasattr(value, "coo") or str(getattr(value, "layout", "")) != "torch.strided"


def _store_segment(where: str, num_rows: int, values: Mapping[str, Any]) -> Segment:
    """Sorts out what a type keeps: a row for each of its vertices or edges, or not."""
    rest = _beside_edges(values)
    known = {
        key: rest.pop(key)
        for key in list(rest)
        if key in _OF_VERTICES or _num_rows(key, rest[key]) == num_rows
    }
    segment = _segment(where, num_rows, known, rest)
    _name_left_out(where, rest)
    return segment


def _segment(
    where: str, num_rows: int, values: Mapping[str, Any], left_out: dict[str, Any]
) -> Segment:
    """Makes arrays of tensors; those of other things than numbers go to `left_out`."""
    arrays = {}
    for key, value in values.items():
        if value is None:
            continue
        array = to_numpy(value, f"'{key}' of {where}")
        if array.dtype.kind in "biuf":
            arrays[key] = array
        elif key in _OF_VERTICES:
            raise DataError(f"'{key}' of {where} is {array.dtype}; make it plain numbers")
        else:
            left_out[key] = value
    return Segment(where=where, num_rows=num_rows, arrays=arrays)


def _name_left_out(where: str, values: Mapping[str, Any]) -> None:
    """Says which values with parts are not kept; single numbers and words are no arrays."""
    names = [
        f"'{key}'"
        for key, value in values.items()
        if not isinstance(value, str | bytes) and _num_parts(value)
    ]
    if names:
        logger.warning(
            "leaving out %s of %s: no numbers with one row for each vertex or edge",
            ", ".join(names),
            where,
        )


def _num_parts(value: Any) -> int:
    """Returns how many parts a value has, 0 for a single number."""
    try:
        return len(value)
    except TypeError:
        return 0


def _num_rows(key: str, value: Any) -> int:
    """Returns the rows of an array, -1 of what is none."""
    if "index" in key or key == "face":  # as PyG has it, a column for each entry
        return -1
    shape: Sequence[int] = getattr(value, "shape", ())
    if hasattr(value, "sizes"):
        shape = value.sizes()
    return int(shape[0]) if len(shape) else -1


def _edges_of(store: Any, where: str) -> tuple[NDArray[Any], dict[str, Any]]:
    """Returns the edges of a store, and the weights of a matrix where they are in one."""
    index = getattr(store, "edge_index", None)
    if index is not None:
        return vertex_ids(to_numpy(index, f"'edge_index' of {where}"), where), {}
    from torch_geometric.utils import to_edge_index

    for key in ("adj_t", "adj"):
        matrix = getattr(store, key, None)
        if matrix is None or not _is_sparse(matrix):
            continue
        try:
            index, value = to_edge_index(matrix)
        except (ValueError, RuntimeError, AttributeError, ImportError) as error:
            raise DataError(f"'{key}' of {where} is no sparse matrix ({error})") from error
        edges = to_numpy(index, f"'{key}' of {where}")
        if key == "adj_t":
            edges = np.ascontiguousarray(edges[::-1])  # its rows are destinations
        if value is None or (value.ndim == 1 and bool((value == 1).all())):
            return edges, {}
        return edges, {"edge_weight" if value.ndim == 1 else "edge_attr": value}
    raise _no_edges(where)


def _no_edges(where: str) -> DataError:
    return DataError(f"{where} has no edge_index, nor an adj_t; give it its edges")


def load_pyg(name: str, root: Path) -> RawGraph:
    """Loads a named graph from `root/NAME`, where PyG keeps its `raw` and `processed` folders.

    Raises:
        DataError: The files are not there and cannot be downloaded, or are damaged.
    """
    from torch_geometric import datasets

    folder = root / name
    try:
        with made_folders(folder):
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
