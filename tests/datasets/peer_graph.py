"""A small graph by formula, for which other frameworks' folders lie in `peer_folders.tar.xz`.

To make the archive anew, run this file twice in an empty folder: with the interpreter of
`python -m benchmarks.peers dgl` for DistDGL's folders and with gnnflow's own for PyG's; then pack
what is there with `tar -cJf`.
"""

import os
from pathlib import Path

import numpy as np

NUM_VERTICES, NUM_EDGES, NUM_FEATURES, NUM_CLASSES, NUM_PARTS = 24, 60, 3, 3, 2
NUM_AUTHORS, NUM_WRITTEN = 6, 12
VERTICES = np.arange(NUM_VERTICES)
EDGES = np.stack([np.arange(NUM_EDGES) * 7 % 23, np.arange(NUM_EDGES) ** 2 * 5 % NUM_VERTICES])
WRITTEN = np.stack([np.arange(NUM_WRITTEN) % NUM_AUTHORS, np.arange(NUM_WRITTEN) * 2])
LABELS = VERTICES % NUM_CLASSES
MASKS = {"train": VERTICES % 2 == 0, "val": VERTICES % 4 == 1, "test": VERTICES % 4 == 3}


def features(ids: np.ndarray) -> np.ndarray:
    """Returns float32 `[len(ids), NUM_FEATURES]` by which a vertex is known."""
    return (ids[:, None] * np.array([1, 10, 100])).astype(np.float32)


def weights(edges: np.ndarray) -> np.ndarray:
    """Returns float32 `[num_edges]` by which an edge is known."""
    return (edges[0] * 100 + edges[1]).astype(np.float32)


def _make_dgl() -> None:
    import dgl
    import torch

    tensor = torch.from_numpy
    graph = dgl.graph((tensor(EDGES[0]), tensor(EDGES[1])), num_nodes=NUM_VERTICES)
    typed = dgl.heterograph(
        {
            ("paper", "cites", "paper"): (tensor(EDGES[0]), tensor(EDGES[1])),
            ("author", "writes", "paper"): (tensor(WRITTEN[0]), tensor(WRITTEN[1])),
        },
        num_nodes_dict={"paper": NUM_VERTICES, "author": NUM_AUTHORS},
    )
    for data in (graph.ndata, typed.nodes["paper"].data):
        data["feat"] = tensor(features(VERTICES))
        data["label"] = tensor(LABELS)
        for name, mask in MASKS.items():
            data[f"{name}_mask"] = tensor(mask)
        data["old-id"] = tensor(VERTICES)
    typed.nodes["author"].data["feat"] = tensor(features(np.arange(NUM_AUTHORS) + 1000))
    typed.nodes["author"].data["old-id"] = torch.arange(NUM_AUTHORS)
    graph.edata["w"] = tensor(weights(EDGES))
    typed.edges["cites"].data["w"] = tensor(weights(EDGES))
    typed.edges["writes"].data["w"] = tensor(weights(WRITTEN))
    for formats in ("coo", "csr", "csc"):
        _dgl_part(graph, f"dgl-{formats}", [formats])
    _dgl_part(typed, "dgl-typed", None)


def _dgl_part(graph: object, name: str, formats: list[str] | None) -> None:
    import dgl

    dgl.distributed.partition_graph(graph, "graph", NUM_PARTS, name, graph_formats=formats)
    for file in Path(name).glob("part*/graph.dgl"):
        # DGL leaves what was in its memory in the reserved part of the header.
        content = bytearray(file.read_bytes())
        content[32:4096] = bytes(4096 - 32)
        file.write_bytes(content)


def _make_pyg() -> None:
    import torch
    from torch_geometric.data import Data
    from torch_geometric.distributed import Partitioner
    from torch_geometric.loader.cluster import ClusterData

    def cut(self: ClusterData, edge_index: torch.Tensor, num_nodes: int) -> torch.Tensor:
        """In the place of METIS, for which PyG needs pyg-lib or torch-sparse."""
        return (torch.arange(num_nodes) * 7 % 5) % NUM_PARTS

    ClusterData._metis = cut
    x, edge_index = torch.from_numpy(features(VERTICES)), torch.from_numpy(EDGES)
    plain = Data(x=x, edge_index=edge_index)
    weighted = Data(x=x, edge_index=edge_index, edge_attr=torch.from_numpy(weights(EDGES))[:, None])
    for name, data in {"pyg-plain": plain, "pyg-weighted": weighted}.items():
        Partitioner(data, NUM_PARTS, name).generate_partition()


if __name__ == "__main__":
    os.environ["DGLBACKEND"] = "pytorch"
    try:
        _make_dgl()
    except ImportError:
        _make_pyg()
