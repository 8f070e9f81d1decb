"""Traces of parts on disk, without a run: the minibatches that ranks would take in one."""

from collections.abc import Sequence
from functools import cache
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnnflow.cache.vertex_values import VertexValues
from gnnflow.cache.vip import exchange_between, vip_walk
from gnnflow.loader import SeedSchedule
from gnnflow.partition import GraphPartition, open_partition, read_manifest
from gnnflow.partition.manifest import Manifest
from gnnflow.replay import Trace
from gnnflow.replay.sample_traces import sample_traces


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
    return exchange_between(
        [
            vip_walk(part, np.asarray(part.splits["train"]), num_steps=num_steps, fanout=fanout)
            for part in parts
        ]
    )


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
