"""One process of a DistDGL job: a server, or a trainer of GraphSAGE, by `DGL_ROLE`.

Runs in the environment of the peer `dgl`, started by `distdgl_job`. A trainer does what DGL's guide
for distributed training shows: seeds near their part, sampled blocks from `DistNodeDataLoader`,
rows from `DistTensor`, gradients through DistributedDataParallel. It writes what it measured, and
trainer 0 the trained weights to `OUT/weights.npz`.
"""

import os
from pathlib import Path
from typing import Any

import dgl
import dgl.nn.pytorch
import numpy as np
import torch
import torch.distributed

from benchmarks.peers.graphsage_training import (
    EpochTimes,
    GraphSage,
    TrainingJob,
    read_job,
    train_epochs,
    write_result,
)


def train(job: TrainingJob) -> None:
    """Joins the job as `DGL_ROLE` says; a server stays in `initialize` until the job ends."""
    hyper = job.hyperparameters
    torch.set_num_threads(job.threads)
    dgl.distributed.initialize(os.environ["DGL_IP_CONFIG"])
    torch.distributed.init_process_group("gloo")
    part_config = Path(os.environ["DGL_CONF_PATH"])
    graph = dgl.distributed.DistGraph(part_config.stem, part_config=str(part_config))
    book = graph.get_partition_book()
    torch.manual_seed(hyper.seed)  # equal weights everywhere
    features, labels = graph.ndata["x"], graph.ndata["y"]
    sizes = hyper.layer_sizes(features.shape[1], job.classes)
    layers = [dgl.nn.pytorch.SAGEConv(*each, hyper.aggregation) for each in sizes]
    for layer in layers:
        # Start as PyG's layers do: DGL's larger weights would ask for another learning rate.
        layer.fc_self.reset_parameters()
        layer.fc_neigh.reset_parameters()
    model = torch.nn.parallel.DistributedDataParallel(
        GraphSage(layers, hyper, lambda layer, block, rows: layer(block, rows))
    )
    rank = torch.distributed.get_rank()
    torch.manual_seed(hyper.seed + rank)
    dgl.seed(hyper.seed + rank)
    seeds = dgl.distributed.node_split(graph.ndata["train"], book)
    num_job_seeds = torch.tensor(len(seeds))
    torch.distributed.all_reduce(num_job_seeds)
    num_ranks = torch.distributed.get_world_size()
    loader = dgl.dataloading.DistNodeDataLoader(
        graph,
        seeds,
        # DGL lists fanouts from the input layer, gnnflow from the seeds.
        dgl.dataloading.NeighborSampler(list(hyper.fanout[::-1]), replace=hyper.replace),
        batch_size=hyper.even_batch_size(len(seeds), int(num_job_seeds), num_ranks),
        shuffle=True,
        drop_last=False,
    )
    row_bytes = features.dtype.itemsize * features.shape[1]

    def take(batch: Any) -> tuple[Any, torch.Tensor, torch.Tensor]:
        inputs, seeds, blocks = batch
        return blocks, features[inputs], labels[seeds]

    def count(times: EpochTimes, batch: Any) -> None:
        inputs, _, blocks = batch
        num_remote = int((book.nid2partid(inputs) != book.partid).sum())
        times.rows += len(inputs)
        times.remote_rows += num_remote
        times.remote_bytes += num_remote * row_bytes
        times.edges += sum(block.num_edges() for block in blocks)

    epochs = train_epochs(
        job,
        model,
        loader,
        take,
        count=count,
        start_together=torch.distributed.barrier,
        # A trainer may have one minibatch more than another: join answers for those that are done.
        join=model.join,
    )
    if rank == 0:
        weights = {name: rows.numpy() for name, rows in model.module.state_dict().items()}
        np.savez(job.out / "weights.npz", **weights)
    write_result(job, rank, epochs)
    torch.distributed.barrier()


if __name__ == "__main__":
    train(read_job("benchmarks.peers.distdgl_trainer"))
