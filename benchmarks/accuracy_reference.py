"""What accuracy to expect on the embedded graph: full-batch training with plain PyG, no gnnflow.

    python -m benchmarks.accuracy_reference --json reference.json

trains a linear classifier on the features and a two-layer GraphSAGE on features and edges, for
each seed, and takes the test accuracy at the epoch of the best validation accuracy.
"""

import argparse
import statistics
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch_geometric.nn import GraphSAGE

from benchmarks._harness import write_json
from benchmarks.hyperparameters import HYPERPARAMETERS, Hyperparameters
from benchmarks.peers.graphsage_training import LOSSES, make_optimizer, named
from gnnflow.datasets import RawGraph, load

HYPER = replace(HYPERPARAMETERS, lr=0.02)
EVAL_EVERY = 5


def make_adjacency(edges: np.ndarray, num_vertices: int) -> Tensor:
    order = np.argsort(edges[1], kind="stable")
    degrees = np.bincount(edges[1], minlength=num_vertices)
    offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(degrees)]))
    sources = torch.from_numpy(edges[0, order].astype(np.int64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # sparse CSR tensors are called beta
        size = (num_vertices, num_vertices)
        return torch.sparse_csr_tensor(offsets, sources, torch.ones(len(sources)), size=size)


@dataclass(frozen=True, slots=True)
class Tensors:
    """A graph in memory."""

    x: Tensor
    y: Tensor
    splits: dict[str, Tensor]
    adj_t: Tensor

    @classmethod
    def of(cls, graph: RawGraph) -> Self:
        """Reads all of a graph."""
        everyone = np.arange(graph.num_vertices)
        x, y = (torch.from_numpy(graph.arrays[name].rows(everyone)) for name in ("x", "y"))
        splits = {name: torch.from_numpy(ids) for name, ids in graph.splits.items()}
        return cls(x, y, splits, make_adjacency(np.asarray(graph.edges), graph.num_vertices))


def train(
    model: torch.nn.Module,
    inputs: list[Tensor],
    y: Tensor,
    splits: dict[str, Tensor],
    epochs: int,
    hyperparameters: Hyperparameters,
) -> tuple[float, float]:
    """Returns validation and test accuracy at the best epoch of validation."""
    optimizer = make_optimizer(hyperparameters, model.parameters())
    loss_of = named("loss", hyperparameters.loss, LOSSES)
    best = (0.0, 0.0)
    for epoch in range(1, epochs + 1):
        model.train()
        optimizer.zero_grad()
        loss = loss_of(model(*inputs)[splits["train"]], y[splits["train"]])
        loss.backward()
        optimizer.step()
        if epoch % EVAL_EVERY == 0:
            model.eval()
            with torch.no_grad():
                right = (model(*inputs).argmax(dim=1) == y).double()
            best = max(best, tuple(right[splits[name]].mean().item() for name in ("val", "test")))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=120)
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args()
    graph = load("debian-packages")
    tensors = Tensors.of(graph)
    y, splits = tensors.y, tensors.splits
    widths = (graph.num_features, graph.num_classes)
    majority = (y[splits["test"]] == y[splits["train"]].mode().values).double().mean().item()
    print(f"majority class: test {majority:.4f}")
    rows = [{"model": "majority", "test": [majority], "mean": majority, "spread": 0.0}]
    models = {
        "linear": (lambda: torch.nn.Linear(*widths), [tensors.x]),
        "sage": (
            lambda: GraphSAGE(
                widths[0], HYPER.hidden, len(HYPER.fanout), widths[1], dropout=HYPER.dropout
            ),
            [tensors.x, tensors.adj_t],
        ),
    }
    for name, (make, inputs) in models.items():
        start = time.perf_counter()
        found = []
        for seed in options.seeds:
            torch.manual_seed(seed)
            found.append(train(make(), inputs, y, splits, options.epochs, HYPER))
        val, test = zip(*found, strict=True)
        mean, spread = statistics.mean(test), max(test) - min(test)
        rows.append({"model": name, "val": val, "test": test, "mean": mean, "spread": spread})
        seconds = (time.perf_counter() - start) / len(found)
        print(
            f"{name}: test {mean:.4f} on average of {len(found)} seeds, spread {spread:.4f} "
            f"(validation {statistics.mean(val):.4f}; {seconds:.0f} s per seed)"
        )
    write_json(options.json, rows)


if __name__ == "__main__":
    main()
