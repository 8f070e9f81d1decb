"""Turns the arrays that `distdgl_layout` wrote into the files that DistDGL's servers load.

`python -m benchmarks.peers.distdgl_convert FOLDER`, in the peer's environment. The arrays go.
"""

import sys
from pathlib import Path

import dgl
import numpy as np
import torch


def convert(folder: Path) -> None:
    """Converts the arrays of one host, in place."""
    files = sorted(folder.glob("*.npy"))
    arrays = {file.stem: torch.from_numpy(np.load(file, allow_pickle=False)) for file in files}
    num_inner, num_edges = int(arrays["num_inner"]), len(arrays["indices"])
    no_edge_ids = torch.empty(0, dtype=torch.int64)  # an edge's id is its position
    graph = dgl.graph(
        ("csc", (arrays["indptr"], arrays["indices"], no_edge_ids)),
        num_nodes=len(arrays["vertex_ids"]),
    )
    graph.ndata[dgl.NID] = arrays["vertex_ids"]
    graph.ndata["inner_node"] = (torch.arange(graph.num_nodes()) < num_inner).to(torch.uint8)
    graph.edata[dgl.EID] = int(arrays["first_edge"]) + torch.arange(num_edges)
    graph.edata["inner_edge"] = torch.ones(num_edges, dtype=torch.uint8)
    dgl.save_graphs(str(folder / "graph.dgl"), [graph], formats=["csc"])
    rows = {f"_N/{name}": arrays[name] for name in ("x", "y", "train")}
    dgl.data.utils.save_tensors(str(folder / "node_feat.dgl"), rows)
    dgl.data.utils.save_tensors(str(folder / "edge_feat.dgl"), {})
    for file in files:
        file.unlink()


if __name__ == "__main__":
    for part in sorted(Path(sys.argv[1]).glob("part*")):
        convert(part)
