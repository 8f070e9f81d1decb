"""In-neighbour lists from an edge list, in the order of the input."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow.partition.book import IntArray


@dataclass(frozen=True, slots=True)
class Csc:
    """Neighbour lists of all vertices, one behind the other."""

    indptr: IntArray
    """int64 `[num_vertices + 1]`."""
    indices: npt.NDArray[Any]
    """int32 or int64 `[num_edges]`."""
    edge_id: IntArray | None
    """int64 `[num_edges]`: position of each edge in the input."""


def id_dtype(num_vertices: int) -> np.dtype[Any]:
    """Returns the smallest of int32 and int64 that holds every vertex id."""
    return np.dtype(np.int32 if num_vertices <= np.iinfo(np.int32).max else np.int64)


def build_csc(edges: npt.NDArray[Any], new_id: npt.NDArray[Any], *, keep_edge_ids: bool) -> Csc:
    """Sorts edges by destination, keeping the input order within a list.

    Args:
        edges: `[2, num_edges]`, sources and destinations in original ids.
        new_id: `[num_vertices]`, original to new id.
        keep_edge_ids: Whether to return where each edge was in the input.

    Returns:
        Lists by new destination id, of new source ids.
    """
    destinations = new_id[edges[1]]
    order = np.argsort(destinations, kind="stable")
    indptr = np.zeros(len(new_id) + 1, dtype=np.int64)
    np.cumsum(np.bincount(destinations, minlength=len(new_id)), out=indptr[1:])
    indices = new_id[edges[0]][order].astype(id_dtype(len(new_id)))
    return Csc(indptr, indices, order if keep_edge_ids else None)
