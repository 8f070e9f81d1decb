"""Traces without a run: graphs in parts, and the minibatches that ranks would take on them."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from time import thread_time
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from gnnflow import datasets
from gnnflow._kernels import Topology
from gnnflow.cache import inclusion_probabilities
from gnnflow.cache.vertex_values import VertexValues
from gnnflow.config import PartitionConfig
from gnnflow.loader import SeedSchedule
from gnnflow.partition import (
    GraphPartition,
    Manifest,
    open_partition,
    partition_graph,
    read_manifest,
)
from gnnflow.replay import Trace, sample_traces
from gnnflow.sampling import LocalNeighborSampler
from gnnflow.sampling.draws import DrawName

NUM_PARTS = 4
ROW_BYTES = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class TraceWorkload:
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
    by_key: dict[str, list[Trace]]
    """Traces of the draws by key, by the name of the draw."""
    stored: dict[str, list[Trace]]
    """Traces with a stored first hop, by the name of the draw."""
    folder: Path
    """The parts."""
    sample_s: float
    """Median processor seconds to sample one minibatch, all parts in one process, one thread."""


def sample_workload(workload: TraceWorkload, folder: Path) -> Sampled:
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

    options = {"batch_size": workload.batch_size, "num_epochs": workload.num_epochs}
    vip = vip_of_parts(parts, workload.fanout, num_steps)
    traces = {
        draw: sample_traces(
            parts,
            batches,
            **options,
            fanout=workload.fanout,
            row_bytes=ROW_BYTES,
            vip=vip,
            draw=draw,
        )
        for draw in get_args(DrawName)
    }
    vip = vip_of_parts(parts, workload.fanout[:-1], num_steps)
    draws: tuple[DrawName, ...] = ("independent", "dependent")
    stored = {
        draw: sample_traces(
            parts,
            batches,
            **options,
            fanout=workload.fanout,
            row_bytes=2 * ROW_BYTES,
            vip=vip,
            draw=draw,
            first_hop="mean",
        )
        for draw in draws
    }
    sampler = _sampler_of(parts)
    vertices = [
        sampler.sample(seeds, workload.fanout, epoch=epoch, minibatch=step * NUM_PARTS).vertices
        for epoch in range(workload.num_epochs)
        for step, seeds in enumerate(batches(0, epoch))
    ]
    return Sampled(
        traces=traces.pop("independent"),
        by_key=traces,
        stored=stored,
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


def row_bytes_of(manifest: Manifest) -> int:
    """Size of a row of features as parts hold it."""
    facts = manifest.arrays["x"]
    return prod(facts.row_shape) * np.dtype(facts.npy_dtype).itemsize


def steps_of(manifest: Manifest, batch_size: int) -> int:
    """Steps of an epoch."""
    return -(-sum(manifest.num_seeds("train")) // (manifest.num_parts * batch_size))


def vip_of_parts(
    parts: Sequence[GraphPartition], fanout: Sequence[int], num_steps: int
) -> list[VertexValues]:
    """Vertex inclusion probabilities of each part's remote vertices, for epochs of so many steps.

    Args:
        parts: All parts.
        fanout: Neighbours kept per hop, seeds first.
        num_steps: Steps of an epoch.
    """
    sampler = _sampler_of(parts)
    return [
        inclusion_probabilities(
            part,
            sampler,
            np.asarray(part.splits["train"]) + part.first_id,
            num_steps=num_steps,
            fanout=fanout,
        )
        for part in parts
    ]


def traces_of_parts(
    root: Path,
    *,
    fanout: Sequence[int],
    batch_size: int,
    num_epochs: int,
    seed: int = 0,
    ranks: Sequence[int] | None = None,
    with_vip: bool = True,
) -> list[Trace]:
    """Samples the minibatches that ranks would take in a run with this seed.

    Args:
        root: Folder of the parts.
        fanout: Neighbours kept per hop, seeds first.
        batch_size: Seeds of one rank in one minibatch.
        num_epochs: Epochs to sample.
        seed: Seed of the run.
        ranks: Ranks whose traces are wanted; by default all.
        with_vip: Whether traces hold vertex inclusion probabilities, for which all parts are read.
    """
    manifest = read_manifest(root)
    parts = [open_partition(root, part) for part in range(manifest.num_parts)]
    num_steps = steps_of(manifest, batch_size)
    counts = np.array(manifest.num_seeds("train"), dtype=np.int64)

    @cache
    def schedule(rank: int) -> SeedSchedule:
        seeds = np.asarray(parts[rank].splits["train"]) + parts[rank].first_id
        return SeedSchedule.of_rank(seeds, counts, rank, batch_size=batch_size, seed=seed)

    def batches(rank: int, epoch: int) -> list[NDArray[np.int64]]:
        return [schedule(rank).batch(epoch, step).seeds for step in range(num_steps)]

    return sample_traces(
        parts,
        batches,
        fanout=fanout,
        batch_size=batch_size,
        num_epochs=num_epochs,
        row_bytes=row_bytes_of(manifest),
        seed=seed,
        vip=vip_of_parts(parts, fanout, num_steps) if with_vip else None,
        ranks=ranks,
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
