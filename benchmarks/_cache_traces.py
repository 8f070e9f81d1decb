"""Traces for the cache benchmark: a graph in parts, and the minibatches of every rank."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import thread_time

import numpy as np
from numpy.typing import NDArray

from benchmarks._part_traces import vip_of_parts
from gnnflow import datasets
from gnnflow._kernels import Topology
from gnnflow.config import PartitionConfig
from gnnflow.partition import GraphPartition, open_partition, partition_graph
from gnnflow.replay import Trace
from gnnflow.replay.sample_traces import sample_traces
from gnnflow.sampling import LocalNeighborSampler

NUM_PARTS = 4
ROW_BYTES = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """A graph and how its minibatches are sampled."""

    name: str
    generate: str | None
    """Spec of a generated graph; None for an embedded one of this name."""
    fanout: tuple[int, ...]
    batch_size: int
    num_epochs: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampled:
    """What a workload gave."""

    traces: list[Trace]
    vertices: list[NDArray[np.int64]]
    """All vertices of each minibatch of the first rank, its own among them."""
    folder: Path
    """The parts."""
    sample_s: float
    """Median processor seconds to sample one minibatch, all parts in one process, one thread."""


def sample_workload(workload: Workload, folder: Path) -> Sampled:
    """Cuts the graph with METIS and samples all epochs of all ranks."""
    if workload.generate is None:
        graph = datasets.load(workload.name)
    else:
        graph = datasets.generate(workload.generate, seed=0, workdir=folder)
    root = folder / f"parts-{workload.name}"
    partition_graph(graph, root, PartitionConfig(num_parts=NUM_PARTS))
    parts = [open_partition(root, part) for part in range(NUM_PARTS)]
    num_seeds = sum(len(part.splits["train"]) for part in parts)
    num_steps = -(-num_seeds // (NUM_PARTS * workload.batch_size))

    def batches(rank: int, epoch: int) -> Sequence[NDArray[np.int64]]:
        seeds = np.asarray(parts[rank].splits["train"]) + parts[rank].first_id
        order = np.random.default_rng((epoch, rank)).permutation(seeds)
        return np.array_split(order, num_steps)

    traces = sample_traces(
        parts,
        batches,
        fanout=workload.fanout,
        batch_size=workload.batch_size,
        num_epochs=workload.num_epochs,
        row_bytes=ROW_BYTES,
        vip=vip_of_parts(parts, workload.fanout, num_steps),
    )
    sampler = _sampler_of(parts)
    vertices = [
        sampler.sample(seeds, workload.fanout, epoch=epoch, minibatch=step * NUM_PARTS).vertices
        for epoch in range(workload.num_epochs)
        for step, seeds in enumerate(batches(0, epoch))
    ]
    return Sampled(
        traces=traces,
        vertices=vertices,
        folder=root,
        sample_s=_sampling_time(sampler, batches(0, 0), workload.fanout),
    )


def repeated(trace: Trace, times: int) -> Trace:
    """Returns a trace several times in a row, to measure what goes on for long."""
    ends = trace.offsets[1:] + trace.rows_asked * np.arange(times)[:, None]
    return dataclasses.replace(
        trace,
        remote_ids=np.tile(trace.remote_ids, times),
        offsets=np.concatenate([trace.offsets[:1], ends.ravel()]),
        columns={name: np.tile(values, times) for name, values in trace.columns.items()},
    )


def _sampler_of(parts: Sequence[GraphPartition]) -> LocalNeighborSampler:
    topology = Topology(parts[0].book.offsets)
    for number, part in enumerate(parts):
        topology.set_part(number, part.indptr, part.indices, part.original_id)
    return LocalNeighborSampler(topology, num_threads=1)


def _sampling_time(
    sampler: LocalNeighborSampler, batches: Sequence[NDArray[np.int64]], fanout: Sequence[int]
) -> float:
    times = []
    for repeat in range(4):
        for minibatch, seeds in enumerate(batches[:8]):
            begin = thread_time()
            sampler.sample(seeds, fanout, epoch=0, minibatch=minibatch * NUM_PARTS)
            if repeat:
                times.append(thread_time() - begin)
    return float(np.median(times))
