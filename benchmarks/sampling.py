"""Sampled edges per second on one process, against DGL, torch-sparse and plain numpy.

    python -m benchmarks.sampling [--quick] [--json FILE] [--threads 2]

The graph has a million vertices and 20 million directed edges: communities, within which degrees
follow a power law, made from a fixed seed. Fanouts are named as in PyG, seeds first; DGL lists the
same ones from the other end (25,10 is its [10, 25]), and expands a vertex again in each hop where
PyG and gnnflow expand it once. So edges and vertices per minibatch stand beside the rates.

Rows `sampling/FANOUTS/shared` and `.../dependent` compare draws by key (`--draw`) with the draw for
each vertex, and with DGL's LaborSampler, whose draw `shared` is but for the number of neighbours:
it keeps as many on average, gnnflow as many of each vertex.
"""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks._harness import Options, Report, Row, run_benchmark, take_turns
from benchmarks.hyperparameters import HYPERPARAMETERS, Hyperparameters
from benchmarks.peers import not_installed, peer_python
from benchmarks.peers.process import PeerProcess
from benchmarks.peers.samplers import (
    Measured,
    Sampler,
    measure,
    measure_peer,
    numpy_sampler,
    torch_sparse_sampler,
)
from gnnflow import _kernels
from gnnflow.config import DEFAULT_DRAW_EVERY
from gnnflow.sampling import LocalNeighborSampler

NUM_VERTICES = 1_000_000
NUM_EDGES = 20_000_000
NUM_COMMUNITIES = 250
NUM_MINIBATCHES = 64
TASKS = tuple(
    replace(HYPERPARAMETERS, fanout=fanout, batch_size=1024)
    for fanout in ((15, 10, 5), (25, 10), (10, 25))
)
"""What every side samples: of the hyperparameters, what concerns that."""
OURS = "gnnflow"
DRAWS = {"independent": 0, "shared": 1, "dependent": DEFAULT_DRAW_EVERY}
"""Steps for which a source keeps its key."""
PEERS = {"dgl": "DGL", "graphbolt": "GraphBolt"}


@dataclass(frozen=True, slots=True)
class SeededGraph:
    """In-neighbours of every vertex, and the seeds of every minibatch."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    seeds: NDArray[np.int64]

    def minibatch(self, number: int) -> NDArray[np.int64]:
        """Returns the seeds of a minibatch."""
        seeds: NDArray[np.int64] = self.seeds[number]
        return seeds


def make_graph(hyperparameters: Hyperparameters) -> SeededGraph:
    """Makes the graph: both directions of edges, four of five of them within a community."""
    rng = np.random.default_rng(hyperparameters.seed)
    size = NUM_VERTICES // NUM_COMMUNITIES
    weight = np.arange(1, size + 1) ** -0.5
    cumulative = np.cumsum(weight / weight.sum())

    def members(num: int) -> NDArray[np.int64]:
        return np.minimum(np.searchsorted(cumulative, rng.random(num)), size - 1)

    half = NUM_EDGES // 2
    community = rng.integers(0, NUM_COMMUNITIES, half)
    others = rng.integers(0, NUM_COMMUNITIES, half)
    one = community * size + members(half)
    other = np.where(rng.random(half) < 0.8, community, others) * size + members(half)
    shuffled = rng.permutation(NUM_VERTICES).astype(np.int32)
    sources = shuffled[np.concatenate([one, other])]
    destinations = shuffled[np.concatenate([other, one])]
    indptr = np.zeros(NUM_VERTICES + 1, dtype=np.int64)
    np.cumsum(np.bincount(destinations, minlength=NUM_VERTICES), out=indptr[1:])
    indices = sources[np.argsort(destinations, kind="stable")]
    seeds = rng.permutation(NUM_VERTICES)[: NUM_MINIBATCHES * hyperparameters.batch_size]
    return SeededGraph(indptr, indices, seeds.reshape(NUM_MINIBATCHES, -1))


def our_sampler(
    graph: SeededGraph, hyperparameters: Hyperparameters, threads: int, every: int = 0
) -> Sampler:
    """Returns gnnflow's sampler, by key if keys are to last for some steps."""
    topology = _kernels.Topology(np.array([0, NUM_VERTICES]))
    topology.set_part(0, graph.indptr, graph.indices)
    if every:
        keys, nothing = np.empty(len(graph.indices), np.uint32), np.zeros(0, np.int64)
        lists, all_ids = (graph.indptr, graph.indices), np.arange(NUM_VERTICES)
        _kernels.source_keys(*lists, 0, all_ids, nothing, nothing, keys, threads)
        topology.set_source_keys(0, keys)
    sampler = LocalNeighborSampler(
        topology,
        num_threads=threads,
        replace=hyperparameters.replace,
        seed=hyperparameters.seed,
        every=every,
    )

    def sample(number: int) -> tuple[int, int]:
        subgraph = sampler.sample(
            *(graph.minibatch(number), hyperparameters.fanout),
            epoch=0,
            minibatch=number,
            step=number,
        )
        return subgraph.num_edges, subgraph.num_vertices

    return sample


class SamplerSide:
    """Measures one sampler, round after round, on minibatches that all sides share."""

    def __init__(self, measure: Callable[[range], Measured], per_round: int) -> None:
        """Takes what measures a range of minibatches, and how many a round has."""
        self._measure = measure
        self._per_round = per_round
        self._next = 0
        self._edges = self._vertices = self._minibatches = 0

    def __call__(self) -> float:
        """Returns edges per second of one round."""
        if self._next + self._per_round > NUM_MINIBATCHES:
            self._next = 0
        measured = self._measure(range(self._next, self._next + self._per_round))
        self._next += self._per_round
        self._minibatches += self._per_round
        self._edges += measured.num_edges
        self._vertices += measured.num_vertices
        return measured.num_edges / measured.seconds

    @property
    def edges(self) -> float:
        """Edges per minibatch."""
        return self._edges / self._minibatches

    @property
    def vertices(self) -> float:
        """Vertices per minibatch."""
        return self._vertices / self._minibatches


def compare_task(
    graph: SeededGraph,
    hyperparameters: Hyperparameters,
    peers: dict[str, PeerProcess],
    options: Options,
    report: Report,
) -> None:
    """Adds the rows of one choice of hyperparameters."""
    per_round = 4 if options.quick else 8
    ours = our_sampler(graph, hyperparameters, options.threads)
    fast: dict[str, SamplerSide] = {}
    for title, peer in peers.items():
        fast[title] = SamplerSide(partial(measure_peer, peer, hyperparameters), per_round)
    sparse = torch_sparse_sampler(graph.indptr, graph.indices, graph.minibatch, hyperparameters)
    if isinstance(sparse, str):
        report.absent("torch-sparse", sparse)
    else:
        fast["torch-sparse"] = SamplerSide(lambda numbers: measure(sparse, numbers), per_round)
    plain = numpy_sampler(graph.indptr, graph.indices, graph.minibatch, hyperparameters)
    slow = {"numpy": SamplerSide(lambda numbers: measure(plain, numbers), 1)}
    for theirs, rounds, limit_s in ((fast, 6, 8), (slow, 1, 4)):
        own = SamplerSide(lambda numbers: measure(ours, numbers), per_round)
        rates = take_turns(
            {OURS: own, **theirs},
            rounds=rounds if options.quick else 3 * rounds,
            limit_s=limit_s if options.quick else 60,
        )
        name = f"sampling/{','.join(map(str, hyperparameters.fanout))}"
        for title, side in theirs.items():
            report.add(_row(name, title, (rates[OURS], own), (rates[title], side)))


def compare_draws(
    graph: SeededGraph,
    hyperparameters: Hyperparameters,
    labor: dict[str, PeerProcess],
    options: Options,
    report: Report,
) -> None:
    """Adds the rows on draws by key of one choice of hyperparameters."""
    per_round = 4 if options.quick else 8
    sides = {
        draw: SamplerSide(
            partial(measure, our_sampler(graph, hyperparameters, options.threads, every)), per_round
        )
        for draw, every in DRAWS.items()
    }
    theirs = {
        title: SamplerSide(partial(measure_peer, peer, hyperparameters), per_round)
        for title, peer in labor.items()
    }
    rates = take_turns(
        {**sides, **theirs}, rounds=6 if options.quick else 18, limit_s=4 if options.quick else 30
    )
    plain = (rates["independent"], sides["independent"])
    for draw in ("shared", "dependent"):
        name = f"sampling/{','.join(map(str, hyperparameters.fanout))}/{draw}"
        ours = (rates[draw], sides[draw])
        report.add(_row(name, f"{OURS}, independent", ours, plain))
        for title, side in theirs.items():
            report.add(_row(name, title, ours, (rates[title], side)))


def _row(
    name: str, against: str, ours: tuple[float, SamplerSide], theirs: tuple[float, SamplerSide]
) -> Row:
    """Rates, and what minibatches held."""
    facts: dict[str, float | str] = {}
    for whose, (rate, side) in (("our", ours), ("their", theirs)):
        facts |= {
            f"{whose}_edges_per_minibatch": side.edges,
            f"{whose}_vertices_per_minibatch": side.vertices,
            f"{whose}_minibatches_per_s": rate / side.edges,
        }
    return Row(
        name=name,
        ours=ours[0] / 1e6,
        theirs=theirs[0] / 1e6,
        unit="M edges/s",
        against=against,
        facts=facts,
    )


def compare(options: Options, report: Report) -> None:
    """Adds the rows."""
    graph = make_graph(TASKS[0])
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name in ("indptr", "indices", "seeds"):
            np.save(folder / f"{name}.npy", getattr(graph, name))
        peers: dict[str, PeerProcess] = {}
        labor: dict[str, PeerProcess] = {}
        for name, title in PEERS.items():
            if peer_python(name) is None:
                report.absent(title, not_installed(name))
                continue
            peer = stack.enter_context(PeerProcess(name, name, folder, options.threads))
            peers[f"{title} {peer.version}"] = peer
            if name == "dgl":
                side = stack.enter_context(PeerProcess(name, "dgl-labor", folder, options.threads))
                labor[f"{title}'s LaborSampler {peer.version}"] = side
        for task in TASKS:
            compare_task(graph, task, peers, options, report)
            compare_draws(graph, task, labor, options, report)


if __name__ == "__main__":
    run_benchmark(
        "benchmarks.sampling", __doc__, "Sampling: 1 M vertices, 20 M edges, 1024 seeds", compare
    )
