"""Minibatches as DGL and GraphBolt sample them and as DGL's layers train on them.

    python -m benchmarks.peers.minibatch_sides SIDE FOLDER THREADS

Runs in the environment of a peer: says its version, then answers each line with a line of JSON.
"""

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.hyperparameters import Hyperparameters

Answer = Callable[[Any], dict[str, Any]]
"""Answers a question; both are JSON."""


def sample_with_dgl(folder: Path, *, by_key: bool = False) -> Answer:
    """Samples ranges of minibatches with DGL's sampler, or with its LaborSampler."""
    import dgl
    import torch

    graph, seeds = _graph_of(folder)
    no_edge_ids = torch.empty(0, dtype=torch.int64)
    whole = dgl.graph(("csc", (*graph, no_edge_ids)), num_nodes=len(graph[0]) - 1)

    def answer(question: Any) -> dict[str, Any]:
        hyper = Hyperparameters.of_json(question["hyperparameters"])
        # DGL lists fanouts from the input layer.
        fanouts = list(hyper.fanout[::-1])
        if by_key:
            sampler = dgl.dataloading.LaborSampler(fanouts)
        else:
            sampler = dgl.dataloading.NeighborSampler(fanouts, replace=hyper.replace)
        num_edges = num_vertices = 0
        begin = perf_counter()
        for number in range(question["begin"], question["end"]):
            vertices, _, blocks = sampler.sample(whole, seeds[number])
            num_edges += sum(block.num_edges() for block in blocks)
            num_vertices += len(vertices)
        seconds = perf_counter() - begin
        return {"seconds": seconds, "num_edges": num_edges, "num_vertices": num_vertices}

    return answer


def sample_with_graphbolt(folder: Path) -> Answer:
    """Samples ranges of minibatches as GraphBolt's NeighborSampler does."""
    import torch
    from dgl import graphbolt

    graph, seeds = _graph_of(folder)
    whole = graphbolt.fused_csc_sampling_graph(*graph)

    def answer(question: Any) -> dict[str, Any]:
        hyper = Hyperparameters.of_json(question["hyperparameters"])
        fanouts = [torch.tensor([fanout]) for fanout in hyper.fanout]
        num_edges = num_vertices = 0
        begin = perf_counter()
        for number in range(question["begin"], question["end"]):
            vertices = seeds[number]
            # Every layer expands all vertices found so far.
            for fanout in fanouts:
                drawn = whole.sample_neighbors(vertices, fanout, replace=hyper.replace)
                sampled = drawn.sampled_csc
                vertices, compact = graphbolt.unique_and_compact_csc_formats(sampled, vertices)
                num_edges += len(compact.indices)
            num_vertices += len(vertices)
        seconds = perf_counter() - begin
        return {"seconds": seconds, "num_edges": num_edges, "num_vertices": num_vertices}

    return answer


def train_with_dgl(folder: Path) -> Answer:
    """Runs DGL's SAGEConv forward and backward on the minibatch of a number."""
    import dgl
    import torch

    from benchmarks.peers.graphsage_training import LOSSES, GraphSage, named

    hyper = Hyperparameters.read(folder)
    weights = np.load(folder / "weights.npz", allow_pickle=False)
    convs = []
    for index in range(len(weights.files) // 3):
        neighbour, own = weights[f"neighbour_weight_{index}"], weights[f"self_weight_{index}"]
        conv = dgl.nn.pytorch.SAGEConv(neighbour.shape[1], neighbour.shape[0], hyper.aggregation)
        with torch.no_grad():
            conv.fc_neigh.weight.copy_(torch.from_numpy(neighbour))
            conv.fc_self.weight.copy_(torch.from_numpy(own))
            # Where DGL keeps the bias has changed between its releases.
            bias = conv.bias if getattr(conv, "bias", None) is not None else conv.fc_self.bias
            bias.copy_(torch.from_numpy(weights[f"bias_{index}"]))
        convs.append(conv)
    model = GraphSage(convs, hyper, lambda conv, block, rows: conv(block, rows))
    loss_of, no_labels = named("loss", hyper.loss, LOSSES), torch.zeros(())
    minibatches: dict[int, dict[str, Any]] = {}

    def answer(number: int) -> dict[str, Any]:
        if number not in minibatches:
            file = np.load(folder / f"minibatch_{number}.npz", allow_pickle=False)
            minibatches[number] = {name: torch.from_numpy(file[name]) for name in file.files}
        stored = minibatches[number]
        # New blocks each time, as a sampler makes them: formats that DGL derives are not kept.
        blocks = []
        for index in range(len(convs)):
            indptr, src = stored[f"indptr_{index}"], stored[f"src_{index}"]
            block = dgl.create_block(
                ("csc", (indptr, src, torch.empty(0, dtype=torch.int64))),
                num_src_nodes=int(stored[f"num_src_{index}"]),
                num_dst_nodes=len(indptr) - 1,
            )
            blocks.append(block)
        begin = perf_counter()
        loss = loss_of(model(blocks, stored["x"]), no_labels)
        loss.backward()
        return {"seconds": perf_counter() - begin, "loss": loss.item()}

    return answer


SIDES = {
    "dgl": sample_with_dgl,
    "dgl-labor": partial(sample_with_dgl, by_key=True),
    "graphbolt": sample_with_graphbolt,
    "dgl-layers": train_with_dgl,
}


def _graph_of(folder: Path) -> tuple[tuple[Any, Any], Any]:
    """In-neighbours as indptr and indices, and the seeds of every minibatch."""
    import torch

    names = ("indptr", "indices", "seeds")
    loaded = (np.load(folder / f"{name}.npy", allow_pickle=False) for name in names)
    indptr, indices, seeds = (torch.from_numpy(array.astype(np.int64)) for array in loaded)
    return (indptr, indices), seeds


def main() -> None:
    side, folder, threads = sys.argv[1:]
    os.environ["OMP_NUM_THREADS"] = threads
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what DGL prints is no answer
    import dgl
    import torch

    torch.set_num_threads(int(threads))
    answer = SIDES[side](Path(folder))
    print(json.dumps({"version": dgl.__version__}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
