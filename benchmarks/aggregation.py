"""Forward and backward of GraphSAGE on sampled minibatches, against PyG's layers and DGL's.

    python -m benchmarks.aggregation [--quick] [--json FILE] [--threads 2]

A graph of 300 000 vertices and 4.4 million directed edges, degrees by a power law, 500 seeds a
minibatch. All sides compute the same network with the same weights on the same minibatches, and
the benchmark stops if their losses differ. Our time includes making the layers' adjacencies with
their transposes, which in training happens when a minibatch is sampled; `adj_t` and DGL's blocks
are made before the clock starts. Our process, in which PyG's layers run too, reuses freed memory as
gnnflow-train does.
"""

import importlib.util
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks._harness import Options, Report, Row, run_benchmark, take_turns
from benchmarks.hyperparameters import HYPERPARAMETERS, Hyperparameters
from benchmarks.peers import not_installed, peer_python
from benchmarks.peers.graphsage_training import LOSSES, named
from benchmarks.peers.process import PeerProcess
from gnnflow import _kernels
from gnnflow.loader.sparse_adjacency import sparse_adjacency
from gnnflow.models import SAGE, layer_adjacencies
from gnnflow.sampling import LocalNeighborSampler, SampledSubgraph
from gnnflow.training.machine_use import keep_freed_memory

NUM_VERTICES = 300_000
NUM_EDGES = 4_400_000
NUM_MINIBATCHES = 4
NUM_FEATURES, NUM_CLASSES = 128, 64
NETWORKS = tuple(
    replace(HYPERPARAMETERS, fanout=fanout, batch_size=500, dropout=0.0, loss="mean-square")
    for fanout in ((25, 10), (15, 10, 5))
)
"""What every side computes, without dropout so that losses can be compared."""
OURS = "gnnflow"


@dataclass(frozen=True, slots=True)
class LayeredMinibatch:
    """A sampled subgraph in the forms that the sides take, and its rows."""

    subgraph: SampledSubgraph
    edge_index: Tensor
    adj_t: Tensor
    x: Tensor
    num_nodes: list[int]
    num_edges: list[int]


def make_minibatches(hyperparameters: Hyperparameters) -> list[LayeredMinibatch]:
    """Samples the minibatches, from fixed seeds."""
    draw = np.random.default_rng(hyperparameters.seed)
    weight = draw.permutation(np.arange(1, NUM_VERTICES + 1) ** -0.5)
    cumulative = np.cumsum(weight / weight.sum())
    ends = np.minimum(np.searchsorted(cumulative, draw.random((2, NUM_EDGES))), NUM_VERTICES - 1)
    indptr = np.zeros(NUM_VERTICES + 1, dtype=np.int64)
    np.cumsum(np.bincount(ends[1], minlength=NUM_VERTICES), out=indptr[1:])
    topology = _kernels.Topology(np.array([0, NUM_VERTICES]))
    topology.set_part(0, indptr, ends[0][np.argsort(ends[1], kind="stable")])
    sampler = LocalNeighborSampler(topology, replace=hyperparameters.replace)
    minibatches = []
    for number in range(NUM_MINIBATCHES):
        seeds = draw.choice(NUM_VERTICES, hyperparameters.batch_size, replace=False)
        subgraph = sampler.sample(seeds, hyperparameters.fanout, epoch=0, minibatch=number)
        rows = draw.standard_normal((subgraph.num_vertices, NUM_FEATURES), dtype=np.float32)
        minibatches.append(
            LayeredMinibatch(
                subgraph,
                torch.from_numpy(subgraph.edge_index()),
                sparse_adjacency(subgraph),
                torch.from_numpy(rows),
                list(subgraph.num_sampled_vertices),
                list(subgraph.num_sampled_edges),
            )
        )
    return minibatches


class TrainingSide:
    """Takes the minibatches in turn; remembers the loss of the first for comparison."""

    def __init__(self, run: Callable[[int], tuple[float, float]]) -> None:
        """Takes what runs the minibatch of a number and returns its seconds and its loss."""
        self._run = run
        self.losses: dict[int, float] = {}
        self._next = 0

    def __call__(self) -> float:
        """Returns milliseconds of a round, a minibatch on average."""
        total_s = 0.0
        for number in range(NUM_MINIBATCHES):
            seconds, self.losses[number] = self._run(number)
            total_s += seconds
        return 1000 * total_s / NUM_MINIBATCHES


def torch_side(
    forward: Callable[[LayeredMinibatch], Tensor],
    hyperparameters: Hyperparameters,
    minibatches: list[LayeredMinibatch],
) -> TrainingSide:
    """Makes a side of a forward function."""
    loss_of, no_labels = named("loss", hyperparameters.loss, LOSSES), torch.zeros(())

    def run(number: int) -> tuple[float, float]:
        start = time.perf_counter()
        loss = loss_of(forward(minibatches[number]), no_labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return time.perf_counter() - start, loss.item()

    return TrainingSide(run)


def peer_side(process: PeerProcess) -> TrainingSide:
    """Makes a side of a peer's process."""

    def run(number: int) -> tuple[float, float]:
        answer = process.ask(number)
        return float(answer["seconds"]), float(answer["loss"])

    return TrainingSide(run)


def forward_with_layers(model: SAGE) -> Callable[[LayeredMinibatch], Tensor]:
    """How gnnflow trains."""

    def forward(batch: LayeredMinibatch) -> Tensor:
        return model(batch.x, layer_adjacencies(batch.edge_index, batch.num_nodes))

    return forward


def forward_on_edge_index(model: SAGE) -> Callable[[LayeredMinibatch], Tensor]:
    """PyG's layers on a trimmed `edge_index`, as its examples have it."""
    return lambda batch: model(batch.x, batch.edge_index, batch.num_nodes, batch.num_edges)


def forward_on_adj_t(model: SAGE) -> Callable[[LayeredMinibatch], Tensor]:
    """PyG's layers on a sparse CSR tensor, cut to the vertices that each layer needs."""

    def forward(batch: LayeredMinibatch) -> Tensor:
        x, hops = batch.x, len(model.convs)
        vertices = np.cumsum(batch.num_nodes)
        for index, conv in enumerate(model.convs):
            num_dst = int(vertices[hops - 1 - index])
            x = conv((x, x[:num_dst]), _cut(batch.adj_t, num_dst, len(x)))
            x = x.relu() if index < hops - 1 else x
        return x

    return forward


def forward_on_sparse_tensor(model: SAGE) -> Callable[[LayeredMinibatch], Tensor] | None:
    """The same on torch-sparse's SparseTensor, if that is installed."""
    if importlib.util.find_spec("torch_sparse") is None:
        return None
    from torch_sparse import SparseTensor

    def forward(batch: LayeredMinibatch) -> Tensor:
        x, hops = batch.x, len(model.convs)
        vertices = np.cumsum(batch.num_nodes)
        for index, conv in enumerate(model.convs):
            num_dst = int(vertices[hops - 1 - index])
            cut = _cut(batch.adj_t, num_dst, len(x))
            layer = SparseTensor(
                rowptr=cut.crow_indices(),
                col=cut.col_indices(),
                sparse_sizes=(num_dst, len(x)),
                is_sorted=True,
                trust_data=True,
            )
            x = conv((x, x[:num_dst]), layer)
            x = x.relu() if index < hops - 1 else x
        return x

    return forward


def _cut(adj_t: Tensor, num_dst: int, num_src: int) -> Tensor:
    indptr = adj_t.crow_indices()[: num_dst + 1]
    num_edges = int(indptr[-1])
    return torch.sparse_csr_tensor(
        indptr,
        adj_t.col_indices()[:num_edges],
        adj_t.values()[:num_edges],
        (num_dst, num_src),
        check_invariants=False,
    )


def write_for_dgl(
    folder: Path,
    hyperparameters: Hyperparameters,
    model: SAGE,
    minibatches: list[LayeredMinibatch],
) -> None:
    """Writes hyperparameters, weights, and the blocks of every minibatch, first layer first."""
    hyperparameters.write(folder)
    arrays: dict[str, NDArray[np.generic]] = {}
    for index, conv in enumerate(model.convs):
        arrays[f"neighbour_weight_{index}"] = conv.lin_l.weight.detach().numpy()
        arrays[f"bias_{index}"] = conv.lin_l.bias.detach().numpy()
        arrays[f"self_weight_{index}"] = conv.lin_r.weight.detach().numpy()
    np.savez(folder / "weights.npz", **arrays)
    for number, batch in enumerate(minibatches):
        blocks: dict[str, NDArray[np.generic]] = {"x": batch.x.numpy()}
        layers = layer_adjacencies(batch.edge_index, batch.num_nodes)
        for index, layer in enumerate(layers):
            blocks[f"indptr_{index}"] = layer.indptr.numpy()
            blocks[f"src_{index}"] = layer.src.numpy()
            blocks[f"num_src_{index}"] = np.array(layer.num_src)
        np.savez(folder / f"minibatch_{number}.npz", **blocks)


def compare_network(hyperparameters: Hyperparameters, options: Options, report: Report) -> None:
    """Adds the rows of one network."""
    minibatches = make_minibatches(hyperparameters)
    torch.manual_seed(hyperparameters.seed)
    sizes = hyperparameters.layer_sizes(NUM_FEATURES, NUM_CLASSES)
    model = SAGE([NUM_FEATURES, *(outputs for _, outputs in sizes)], hyperparameters.dropout)
    sides = {
        OURS: torch_side(forward_with_layers(model), hyperparameters, minibatches),
        "PyG on edge_index": torch_side(forward_on_edge_index(model), hyperparameters, minibatches),
        "PyG on a CSR adj_t": torch_side(forward_on_adj_t(model), hyperparameters, minibatches),
    }
    on_sparse_tensor = forward_on_sparse_tensor(model)
    if on_sparse_tensor is None:
        report.absent("torch-sparse", 'it is not installed; the extra "sparse" has it')
    else:
        sides["PyG on a SparseTensor"] = torch_side(on_sparse_tensor, hyperparameters, minibatches)
    with ExitStack() as stack:
        if peer_python("dgl") is None:
            report.absent("DGL", not_installed("dgl"))
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            write_for_dgl(folder, hyperparameters, model, minibatches)
            dgl = stack.enter_context(PeerProcess("dgl", "dgl-layers", folder, options.threads))
            sides[f"DGL {dgl.version}"] = peer_side(dgl)
        rounds, limit_s = (4, 8.0) if options.quick else (20, 60.0)
        times = take_turns(sides, rounds=rounds, limit_s=limit_s)
    ours = sides.pop(OURS)
    adjacencies = [layer_adjacencies(batch.edge_index, batch.num_nodes) for batch in minibatches]
    for name, side in sides.items():
        for number, loss in side.losses.items():
            if not np.isclose(loss, ours.losses[number], rtol=1e-4):
                raise RuntimeError(f"{name} has loss {loss}, gnnflow {ours.losses[number]}")
        report.add(
            Row(
                name=f"aggregation/{','.join(map(str, hyperparameters.fanout))}",
                ours=times[OURS],
                theirs=times[name],
                unit="ms",
                against=name,
                facts={
                    "edges_per_minibatch": float(
                        np.mean([len(layer.src) for layers in adjacencies for layer in layers[:1]])
                    ),
                    "vertices_per_minibatch": float(np.mean([len(b.x) for b in minibatches])),
                },
            )
        )


def compare(options: Options, report: Report) -> None:
    """Adds the rows of all networks."""
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    for network in NETWORKS:
        compare_network(network, options, report)


if __name__ == "__main__":
    run_benchmark(
        "benchmarks.aggregation", __doc__, "Forward and backward of GraphSAGE, 500 seeds", compare
    )
