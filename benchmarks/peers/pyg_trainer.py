"""Trains GraphSAGE with PyG's `NeighborLoader` in one process, started by `pyg_job`.

Runs in the environment of the peer `pyg`. The whole graph is in memory. As PyG's guide advises, a
process beside training samples; rows are gathered and trained on in this one.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data
from torch_geometric.loader import NeighborLoader
from torch_geometric.nn import SAGEConv
from torch_geometric.transforms import ToSparseTensor

from benchmarks.peers.graphsage_training import (
    GraphSage,
    layer_sizes,
    parse_options,
    train_epoch,
    write_result,
)


def train(options: argparse.Namespace) -> None:
    """Trains for some epochs on the graph in `options.out`; writes times and weights beside it."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    data = _load(options.out)
    loader = NeighborLoader(
        data,
        options.fanout,
        input_nodes=data.train_mask,
        batch_size=options.batch_size,
        shuffle=True,
        num_workers=1,
        persistent_workers=True,
        # Layers are faster on it than on pairs of vertices.
        transform=ToSparseTensor(),
    )
    model = GraphSage(
        (SAGEConv(*sizes) for sizes in layer_sizes(options, data.x.shape[1])),
        options.dropout,
        lambda layer, adj_t, rows: layer(rows, adj_t),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)

    def take(batch: Any) -> tuple[list[Any], torch.Tensor, torch.Tensor]:
        return [batch.adj_t] * len(options.fanout), batch.x, batch.y[: batch.batch_size]

    epochs = [train_epoch(model, optimizer, loader, take) for _ in range(options.epochs)]
    weights = {}
    for number, layer in enumerate(model.layers):
        # Named as in DGL's layers, whose accuracy is computed by the same code.
        weights[f"layers.{number}.fc_self.weight"] = layer.lin_r.weight.detach().numpy()
        weights[f"layers.{number}.fc_self.bias"] = layer.lin_l.bias.detach().numpy()
        weights[f"layers.{number}.fc_neigh.weight"] = layer.lin_l.weight.detach().numpy()
    np.savez(options.out / "weights.npz", **weights)
    write_result(options.out, 0, epochs)


def _load(folder: Path) -> Data:
    arrays = {
        file.stem: torch.from_numpy(np.load(file, allow_pickle=False))
        for file in folder.glob("*.npy")
    }
    degrees = torch.diff(arrays["indptr"])
    targets = torch.repeat_interleave(torch.arange(len(degrees)), degrees)
    return Data(
        x=arrays["x"],
        y=arrays["y"],
        edge_index=torch.stack([arrays["indices"], targets]),
        train_mask=arrays["train"],
    )


if __name__ == "__main__":
    train(parse_options("benchmarks.peers.pyg_trainer"))
