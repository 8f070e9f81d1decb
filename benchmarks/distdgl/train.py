"""One process of a DistDGL job: a server, or a trainer of GraphSAGE, by `DGL_ROLE`.

Runs in the peer's environment, started by `launch.py`. A trainer does what DGL's guide for
distributed training shows: seeds near their part, sampled blocks from `DistNodeDataLoader`, rows
from `DistTensor`, gradients through DistributedDataParallel. It writes its times to
`OUT/trainer-RANK.json`, and trainer 0 the trained weights to `OUT/weights.npz`.
"""

import argparse
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import dgl
import dgl.nn.pytorch
import numpy as np
import torch
import torch.distributed

from benchmarks.distdgl import GRAPH_NAME


@dataclass(kw_only=True, slots=True)
class EpochTimes:
    """What one trainer did in one epoch."""

    epoch_time_s: float = 0.0
    sample_s: float = 0.0
    fetch_s: float = 0.0
    train_s: float = 0.0
    minibatches: int = 0
    rows: int = 0
    remote_rows: int = 0
    remote_bytes: int = 0
    edges: int = 0
    loss: float = 0.0


class _Stopwatch:
    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Returns the seconds since the last lap."""
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        return seconds


class GraphSage(torch.nn.Module):
    """Mean-aggregating layers with ReLU and dropout between them."""

    def __init__(self, sizes: list[int], dropout: float) -> None:
        """Makes a layer between each two neighbouring sizes."""
        super().__init__()
        self.layers = torch.nn.ModuleList(
            dgl.nn.pytorch.SAGEConv(inputs, outputs, "mean")
            for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True)
        )
        for layer in self.layers:
            # Start as PyG's layers do: DGL's larger weights would ask for another learning rate.
            layer.fc_self.reset_parameters()
            layer.fc_neigh.reset_parameters()
        self.dropout = torch.nn.Dropout(dropout)

    def forward(self, blocks: list[dgl.DGLGraph], rows: torch.Tensor) -> torch.Tensor:
        """Returns class scores `[num_seeds, num_classes]` from input rows `[num_rows, dim]`."""
        for layer, block in zip(self.layers[:-1], blocks[:-1], strict=True):
            rows = self.dropout(torch.relu(layer(block, rows)))
        return self.layers[-1](blocks[-1], rows)


def train(options: argparse.Namespace) -> None:
    """Joins the job as `DGL_ROLE` says; a server stays in `initialize` until the job ends."""
    torch.set_num_threads(options.threads)
    dgl.distributed.initialize(os.environ["DGL_IP_CONFIG"])
    torch.distributed.init_process_group("gloo")
    graph = dgl.distributed.DistGraph(GRAPH_NAME, part_config=os.environ["DGL_CONF_PATH"])
    book = graph.get_partition_book()
    torch.manual_seed(options.seed)  # equal weights everywhere
    features, labels = graph.ndata["x"], graph.ndata["y"]
    sizes = [features.shape[1], *[options.hidden] * (len(options.fanout) - 1), options.classes]
    model = torch.nn.parallel.DistributedDataParallel(GraphSage(sizes, options.dropout))
    optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)
    rank = torch.distributed.get_rank()
    torch.manual_seed(options.seed + rank)
    dgl.seed(options.seed + rank)
    loader = dgl.dataloading.DistNodeDataLoader(
        graph,
        dgl.distributed.node_split(graph.ndata["train"], book),
        # DGL lists fanouts from the input layer, gnnflow from the seeds.
        dgl.dataloading.NeighborSampler(options.fanout[::-1]),
        batch_size=options.batch_size,
        shuffle=True,
        drop_last=False,
    )
    row_bytes = features.dtype.itemsize * features.shape[1]
    epochs = []
    for _ in range(options.epochs):
        torch.distributed.barrier()
        epochs.append(_train_epoch(model, optimizer, loader, features, labels, book))
        epochs[-1].remote_bytes = epochs[-1].remote_rows * row_bytes
    if rank == 0:
        weights = {name: rows.numpy() for name, rows in model.module.state_dict().items()}
        np.savez(options.out / "weights.npz", **weights)
    result = {
        "epochs": [asdict(epoch) for epoch in epochs],
        "peak_memory_bytes": _peak_memory_bytes(),
    }
    (options.out / f"trainer-{rank}.json").write_text(json.dumps(result, allow_nan=False))
    torch.distributed.barrier()


def _peak_memory_bytes() -> int:
    """Largest resident memory of this process; ru_maxrss would include its parent's."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def _train_epoch(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    loader: dgl.dataloading.DistNodeDataLoader,
    features: dgl.distributed.DistTensor,
    labels: dgl.distributed.DistTensor,
    book: dgl.distributed.GraphPartitionBook,
) -> EpochTimes:
    times, watch = EpochTimes(), _Stopwatch()
    began = time.perf_counter()
    # A trainer may have one minibatch more than another: join answers for those that are done.
    with model.join():
        for inputs, seeds, blocks in loader:
            times.sample_s += watch.lap()
            rows, classes = features[inputs], labels[seeds]
            times.fetch_s += watch.lap()
            # Rows travel as they are stored; torch does not multiply float16 on every processor.
            loss = torch.nn.functional.cross_entropy(model(blocks, rows.float()), classes)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            times.loss += loss.item()
            times.train_s += watch.lap()
            times.minibatches += 1
            times.rows += len(inputs)
            times.remote_rows += int((book.nid2partid(inputs) != book.partid).sum())
            times.edges += sum(block.num_edges() for block in blocks)
            watch.lap()  # counting is no part of the work
    times.epoch_time_s = time.perf_counter() - began
    times.loss /= max(1, times.minibatches)
    return times


def main() -> None:
    """Runs the process that the environment and the command line describe."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.distdgl.train")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--classes", type=int, required=True)
    parser.add_argument("--hidden", type=int, required=True)
    parser.add_argument("--fanout", type=int, nargs="+", required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--dropout", type=float, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
