"""The sampled edges as a sparse tensor, which PyG's layers aggregate faster than `edge_index`."""

import warnings
from functools import cache

import numpy as np
import torch
from torch import Tensor

from gnnflow.sampling import SampledSubgraph


def sparse_adjacency(subgraph: SampledSubgraph) -> Tensor:
    """The edges of a subgraph as a sparse CSR tensor `[num_vertices, num_vertices]`, float32.

    Rows are destinations, columns are sources and every value is 1, as in PyG's `adj_t`.
    """
    _use_up_beta_notice()
    num_vertices = subgraph.num_vertices
    # Vertices of the last hop are no destinations: their rows are empty.
    indptr = np.full(num_vertices + 1, subgraph.num_edges, dtype=np.int64)
    indptr[: len(subgraph.indptr)] = subgraph.indptr
    return torch.sparse_csr_tensor(
        torch.from_numpy(indptr),
        torch.from_numpy(subgraph.src),
        torch.ones(subgraph.num_edges),
        (num_vertices, num_vertices),
        check_invariants=False,
    )


@cache
def _use_up_beta_notice() -> None:
    """Lets torch say once, unheard, that sparse CSR tensors are in beta."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        empty = torch.zeros(1, dtype=torch.int64)
        torch.sparse_csr_tensor(empty, empty[:0], torch.zeros(0), (0, 0), check_invariants=False)
