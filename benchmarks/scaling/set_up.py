"""What a rank does before its first minibatch, on more and more parts of a graph that grows along.

The ranks are taken one after the other in one process, which has all parts: processor seconds of
estimating which remote rows minibatches need, beside those of sampling the minibatches of an epoch.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import thread_time
from typing import Any

import numpy as np

from benchmarks import _commands as commands
from gnnflow.cache import inclusion_probabilities
from gnnflow.partition import GraphPartition, open_partition
from gnnflow.sampling import LocalNeighborSampler


@dataclass(frozen=True, kw_only=True, slots=True)
class GrowingGraph:
    """A graph for each number of parts, as large for each part."""

    parts: tuple[int, ...]
    vertices: int
    """Of a part."""
    edges: int
    """Of a part; each has its reverse as well."""
    fanout: tuple[int, ...] = (10, 10)
    batch_size: int = 250
    sampled_ranks: int = 4

    def spec(self, num_parts: int) -> str:
        """What gnnflow-partition generates."""
        return (
            f"rmat:vertices={num_parts * self.vertices},edges={num_parts * self.edges},"
            "features=8,train=0.1"
        )


FULL = GrowingGraph(parts=(4, 16, 64), vertices=50_000, edges=500_000)
QUICK = GrowingGraph(parts=(4, 16), vertices=4_000, edges=40_000)


def measure(graph: GrowingGraph) -> Iterator[dict[str, Any]]:
    """Yields a row for each number of parts.

    Raises:
        CommandError: If gnnflow-partition fails.
    """
    for num_parts in graph.parts:
        with tempfile.TemporaryDirectory(prefix="gnnflow-") as made:
            folder = Path(made) / "parts"
            source = ["--generate", graph.spec(num_parts), "--undirected", "--method", "ldg"]
            commands.make_parts(folder, num_parts, *source)
            parts = [open_partition(folder, number) for number in range(num_parts)]
            ranks = np.linspace(0, num_parts - 1, graph.sampled_ranks).astype(int).tolist()
            times = [_rank(parts, rank, graph) for rank in ranks]
            manifest = parts[0].manifest
        yield {
            "parts": num_parts,
            "vertices": manifest.num_vertices,
            "edges": manifest.num_edges,
            "set_up_s": median(set_up_s for set_up_s, _ in times),
            "sampling_s": median(sampling_s for _, sampling_s in times),
        }


def _rank(parts: list[GraphPartition], rank: int, graph: GrowingGraph) -> tuple[float, float]:
    """Processor seconds of a rank's set-up, and of sampling its minibatches of an epoch."""
    part = parts[rank]
    sampler = LocalNeighborSampler.over_parts(parts)
    seeds = np.asarray(part.splits["train"]) + part.first_id
    num_steps = max(1, -(-len(seeds) // graph.batch_size))
    begin_s = thread_time()
    inclusion_probabilities(part, sampler, seeds, num_steps=num_steps, fanout=graph.fanout)
    set_up_s = thread_time() - begin_s
    order = np.random.default_rng(rank).permutation(seeds)
    begin_s = thread_time()
    for step, batch in enumerate(np.array_split(order, num_steps)):
        sampler.sample(batch, graph.fanout, epoch=0, minibatch=step * len(parts) + rank)
    return set_up_s, thread_time() - begin_s
