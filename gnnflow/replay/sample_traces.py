"""Traces without a run: all parts in one process, sampled as the ranks of a job would."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from gnnflow._kernels import Topology
from gnnflow.cache.vertex_values import VertexValues
from gnnflow.config import DEFAULT_DRAW_EVERY
from gnnflow.first_hop import FirstHop, vectors_a_row
from gnnflow.partition import GraphPartition
from gnnflow.replay.trace import Trace, TraceFacts, TraceRecorder
from gnnflow.sampling import LocalNeighborSampler, SampledSubgraph
from gnnflow.sampling.draws import DrawName, set_source_keys_of_all, steps_of_a_key

SeedBatches = Callable[[int, int], Sequence[npt.NDArray[np.int64]]]
"""Given rank and epoch, the seeds of each step as global ids."""


def sample_traces(
    partitions: Sequence[GraphPartition],
    seed_batches: SeedBatches,
    *,
    fanout: Sequence[int],
    batch_size: int,
    num_epochs: int,
    row_bytes: int,
    seed: int = 0,
    num_threads: int = 1,
    vip: Sequence[VertexValues] | None = None,
    ranks: Sequence[int] | None = None,
    weight_attr: str | None = None,
    draw: DrawName = "independent",
    draw_every: int = DEFAULT_DRAW_EVERY,
    first_hop: FirstHop | None = None,
) -> list[Trace]:
    """Samples the minibatches of all ranks and notes what each would ask others for.

    Args:
        partitions: All parts, in order.
        seed_batches: The seeds of each rank and epoch, step by step.
        fanout: Neighbours kept per hop, seeds first.
        batch_size: Seeds of one rank in one minibatch, for the facts of the traces.
        num_epochs: Epochs to sample.
        row_bytes: Size of one row, for the facts of the traces.
        seed: Seed of the sampling.
        num_threads: Threads of the sampler.
        vip: Vertex inclusion probabilities for each rank.
        ranks: Ranks whose traces are wanted; by default all.
        weight_attr: Name of the edge weights by which neighbours are drawn.
        draw: Which neighbours are kept, as in `gnnflow.sampling.draws`.
        draw_every: Steps for which a source keeps its key with `dependent`.
        first_hop: What stands, stored, for the last hop of `fanout`.

    Returns:
        The traces of the ranks, in order, without times.
    """
    book = partitions[0].book
    topology = Topology(book.offsets)
    for part, partition in enumerate(partitions):
        lists = (partition.indptr, partition.indices, partition.original_id)
        topology.set_part(part, *lists, weight=partition.edge_weight)
    partitions[0].manifest.check_weights(weight_attr)
    is_weighted = weight_attr is not None
    every = steps_of_a_key(draw, draw_every)
    if every:
        set_source_keys_of_all(topology, partitions, num_threads)
    sampler = LocalNeighborSampler(
        topology, seed=seed, num_threads=num_threads, every=every, weighted=is_weighted
    )
    hops = fanout if first_hop is None else fanout[:-1]
    traces = []
    for rank in range(len(partitions)) if ranks is None else ranks:
        facts = dataclasses.replace(
            _facts(partitions[rank], rank, len(partitions)),
            row_bytes=row_bytes,
            batch_size=batch_size,
            fanout=tuple(fanout),
            num_threads=num_threads,
            vectors_a_row=vectors_a_row(first_hop),
            settings={
                "draw": draw,
                "draw_every": draw_every,
                **({} if first_hop is None else {"first_hop": first_hop}),
            },
        )
        if is_weighted:
            named = {"weight_attr": weight_attr}
            facts = dataclasses.replace(facts, settings=facts.settings | named)
        recorder = TraceRecorder(
            facts,
            np.asarray(partitions[rank].halo),
            np.asarray(partitions[rank].halo_degree),
            None if vip is None else vip[rank],
        )
        for epoch in range(num_epochs):
            batches = seed_batches(rank, epoch)
            for step, seeds in enumerate(batches):
                subgraph = sampler.sample(
                    *(seeds, hops),
                    epoch=epoch,
                    minibatch=step * len(partitions) + rank,
                    step=epoch * len(batches) + step,
                )
                _note(recorder, subgraph, book.range(rank), epoch)
        traces.append(recorder.trace())
    return traces


def _note(
    recorder: TraceRecorder, subgraph: SampledSubgraph, own: tuple[int, int], epoch: int
) -> None:
    """Notes a minibatch of the rank that owns the vertices from `own[0]` up to `own[1]`."""
    vertices = subgraph.vertices
    recorder.add(
        vertices[(vertices < own[0]) | (vertices >= own[1])],
        epoch=epoch,
        num_seeds=subgraph.num_seeds,
        num_vertices=subgraph.num_vertices,
        num_edges=subgraph.num_edges,
        subgraph_bytes=vertices.nbytes + subgraph.src.nbytes + subgraph.indptr.nbytes,
    )


def _facts(partition: GraphPartition, rank: int, num_ranks: int) -> TraceFacts:
    """What a partition tells of the run."""
    manifest = partition.manifest
    return TraceFacts(
        graph=manifest.name,
        rank=rank,
        num_ranks=num_ranks,
        graph_vertices=manifest.num_vertices,
        graph_edges=manifest.num_edges,
        part_vertices=partition.num_vertices,
        num_train_seeds=sum(manifest.num_seeds("train")),
    )
