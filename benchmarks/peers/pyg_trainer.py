"""Trains GraphSAGE with PyG's `NeighborLoader` in one process, started by `pyg_job`.

Runs in the environment of the peer `pyg`. The whole graph is in memory. As PyG's guide advises, a
process beside training samples; rows are gathered and trained on in this one.
"""

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
    TrainingJob,
    read_job,
    train_epochs,
    write_result,
)


def train(job: TrainingJob) -> None:
    """Trains for some epochs on the graph in `job.out`; writes times and weights beside it."""
    hyper = job.hyperparameters
    torch.set_num_threads(job.threads)
    torch.manual_seed(hyper.seed)
    data = _load(job.out)
    num_seeds = int(data.train_mask.sum())
    loader = NeighborLoader(
        data,
        list(hyper.fanout),
        input_nodes=data.train_mask,
        replace=hyper.replace,
        batch_size=hyper.even_batch_size(num_seeds, num_seeds, job.ranks),
        shuffle=True,
        num_workers=1,
        persistent_workers=True,
        # Layers are faster on it than on pairs of vertices.
        transform=ToSparseTensor(),
    )
    model = GraphSage(
        (
            SAGEConv(*sizes, aggr=hyper.aggregation)
            for sizes in hyper.layer_sizes(data.x.shape[1], job.classes)
        ),
        hyper,
        lambda layer, adj_t, rows: layer(rows, adj_t),
    )

    def take(batch: Any) -> tuple[list[Any], torch.Tensor, torch.Tensor]:
        return [batch.adj_t] * len(hyper.fanout), batch.x, batch.y[: batch.batch_size]

    epochs = train_epochs(job, model, loader, take)
    weights = {}
    for number, layer in enumerate(model.layers):
        # Named as in DGL's layers, whose accuracy is computed by the same code.
        weights[f"layers.{number}.fc_self.weight"] = layer.lin_r.weight.detach().numpy()
        weights[f"layers.{number}.fc_self.bias"] = layer.lin_l.bias.detach().numpy()
        weights[f"layers.{number}.fc_neigh.weight"] = layer.lin_l.weight.detach().numpy()
    np.savez(job.out / "weights.npz", **weights)
    write_result(job, 0, epochs)


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
    train(read_job("benchmarks.peers.pyg_trainer"))
