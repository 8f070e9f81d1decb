"""Edges to ask about, looked up by position."""

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from gnnflow.array_types import Ids
from gnnflow.errors import DataError
from gnnflow.graph import DistGraph
from gnnflow.loader.arguments import as_array
from gnnflow.partition import GraphPartition


class EdgeList(Protocol):
    """Edges that can be looked up by position."""

    def __len__(self) -> int:
        """Number of edges."""

    def ends(self, positions: Ids) -> Ids:
        """Returns `[2, num_positions]`: global ids of sources and destinations."""


class GivenEdges:
    """Edges in an array."""

    def __init__(self, edges: ArrayLike, num_vertices: int) -> None:
        """Takes `[2, num_edges]` global ids.

        Raises:
            DataError: if the array has another shape or names vertices that are not of the graph.
        """
        array = as_array("edge_label_index", edges)
        if array.ndim != 2 or len(array) != 2 or (array.size and array.dtype.kind not in "iu"):
            raise DataError(
                "edge_label_index must be [2, num_edges] global ids, got shape "
                f"{list(array.shape)} of {array.dtype}"
            )
        if array.size and (array.min() < 0 or array.max() >= num_vertices):
            raise DataError(
                f"edge_label_index must hold global ids in [0, {num_vertices}), "
                f"got {array.min()} to {array.max()}"
            )
        self._edges = array.astype(np.int64, copy=False)

    def __len__(self) -> int:
        """Number of edges."""
        return int(self._edges.shape[1])

    def ends(self, positions: Ids) -> Ids:
        """Returns `[2, num_positions]`: global ids of sources and destinations."""
        return self._edges[:, positions]


class OwnEdges:
    """The edges of a part, which are the in-edges of its vertices: no copy of them is made."""

    def __init__(self, partition: GraphPartition) -> None:
        """Takes the part."""
        self._partition = partition

    def __len__(self) -> int:
        """Number of edges."""
        return self._partition.num_edges

    def ends(self, positions: Ids) -> Ids:
        """Returns `[2, num_positions]`: global ids of sources and destinations."""
        part = self._partition
        destinations = np.searchsorted(part.indptr, positions, side="right") - 1
        return np.stack([part.indices[positions], destinations + part.first_id])


def edges_of_split(graph: DistGraph, split: str) -> EdgeList:
    """The edges of a split whose destinations this rank owns.

    Args:
        graph: the graph of this rank.
        split: `train` for the edges of the graph itself, or `val` or `test`.

    Raises:
        DataError: if no edges were held out for that split.
    """
    if split == "train":
        return OwnEdges(graph.partition)
    held_out = graph.partition.held_out_edges
    if split not in held_out:
        known = ", ".join(["train", *held_out])
        raise DataError(
            f"{graph.path} has no edges '{split}' (it has: {known}); partition the graph with "
            "--val-edges and --test-edges"
        )
    return GivenEdges(held_out[split], graph.num_vertices)
