"""Trains GraphSAGE with PyG's `NeighborLoader` in one process, started by `launch.py`.

The whole graph is in memory. As PyG's guide advises, a process beside training samples; rows are
gathered and trained on in this one. Writes times to `OUT/times.json` and weights to
`OUT/weights.npz`.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch_geometric.data import Data
from torch_geometric.loader import NeighborLoader
from torch_geometric.nn import SAGEConv
from torch_geometric.transforms import ToSparseTensor
from torch_sparse import SparseTensor


class GraphSage(torch.nn.Module):
    """Mean-aggregating layers with ReLU and dropout between them."""

    def __init__(self, sizes: list[int], dropout: float) -> None:
        """Makes a layer between each two neighbouring sizes."""
        super().__init__()
        pairs = zip(sizes[:-1], sizes[1:], strict=True)
        self.layers = torch.nn.ModuleList(SAGEConv(inputs, outputs) for inputs, outputs in pairs)
        self.dropout = torch.nn.Dropout(dropout)

    def forward(self, rows: torch.Tensor, adj_t: SparseTensor) -> torch.Tensor:
        """Returns class scores `[num_vertices, num_classes]` from rows `[num_vertices, dim]`."""
        for layer in self.layers[:-1]:
            rows = self.dropout(torch.relu(layer(rows, adj_t)))
        return self.layers[-1](rows, adj_t)


def train(options: argparse.Namespace) -> None:
    """Trains for some epochs."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    data = _load(options.graph)
    loader = NeighborLoader(
        data,
        options.fanout,
        input_nodes=data.train_mask,
        batch_size=options.batch_size,
        shuffle=True,
        num_workers=options.workers,
        persistent_workers=options.workers > 0,
        # Layers are faster on it than on pairs of vertices.
        transform=ToSparseTensor(),
    )
    hidden = [options.hidden] * (len(options.fanout) - 1)
    model = GraphSage([data.x.shape[1], *hidden, options.classes], options.dropout)
    optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)
    epochs = [_train_epoch(model, optimizer, loader) for _ in range(options.epochs)]
    weights = {}
    for number, layer in enumerate(model.layers):
        # Named as in DGL's layers, whose accuracy is computed by the same code.
        weights[f"layers.{number}.fc_self.weight"] = layer.lin_r.weight.detach().numpy()
        weights[f"layers.{number}.fc_self.bias"] = layer.lin_l.bias.detach().numpy()
        weights[f"layers.{number}.fc_neigh.weight"] = layer.lin_l.weight.detach().numpy()
    np.savez(options.out / "weights.npz", **weights)
    peak = _peak_memory_bytes()
    (options.out / "times.json").write_text(
        json.dumps({"epochs": epochs, "peak_memory_bytes": peak}, allow_nan=False)
    )


def _peak_memory_bytes() -> int:
    """Largest resident memory of this process; ru_maxrss would include its parent's."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


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


def _train_epoch(
    model: GraphSage, optimizer: torch.optim.Optimizer, loader: NeighborLoader
) -> dict[str, float]:
    began = last = time.perf_counter()
    waited = trained = 0.0
    for batch in loader:
        now = time.perf_counter()
        waited += now - last
        scores = model(batch.x.float(), batch.adj_t)[: batch.batch_size]
        loss = torch.nn.functional.cross_entropy(scores, batch.y[: batch.batch_size])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        last = time.perf_counter()
        trained += last - now
    return {
        "epoch_time_s": time.perf_counter() - began,
        "sample_s": waited,
        "fetch_s": 0.0,
        "train_s": trained,
        "remote_rows": 0,
        "remote_bytes": 0,
    }


def main() -> None:
    """Runs what the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("graph", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fanout", type=lambda text: [int(n) for n in text.split(",")])
    for name in ("batch-size", "hidden", "classes", "epochs", "threads", "workers", "seed"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--dropout", type=float, required=True)
    parser.add_argument("--lr", type=float, required=True)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
