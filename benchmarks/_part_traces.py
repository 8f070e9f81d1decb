"""Traces of parts on disk, without a run: the minibatches that ranks would take in one."""

from collections.abc import Sequence
from functools import cache
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnnflow.features.vip import exchange_between, vip_walk
from gnnflow.loader import SeedSchedule
from gnnflow.partition import open_partition, read_manifest
from gnnflow.partition.manifest import Manifest
from gnnflow.prefetch import Trace
from gnnflow.prefetch.sample_traces import sample_traces


def row_bytes_of(manifest: Manifest) -> int:
    """Size of a row of features as parts hold it."""
    facts = manifest.arrays["x"]
    return prod(facts.row_shape) * np.dtype(facts.npy_dtype).itemsize


def steps_of(manifest: Manifest, batch_size: int) -> int:
    """Steps of an epoch."""
    return -(-sum(manifest.num_seeds("train")) // (manifest.num_parts * batch_size))


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
    num_parts = manifest.num_parts
    parts = [open_partition(root, part) for part in range(num_parts)]
    num_steps = steps_of(manifest, batch_size)
    counts = np.array(manifest.num_seeds("train"), dtype=np.int64)
    cuts = np.arange(num_steps + 1, dtype=np.int64)[:, None] * counts // num_steps

    @cache
    def schedule(rank: int) -> SeedSchedule:
        return SeedSchedule(
            np.asarray(parts[rank].splits["train"]) + parts[rank].first_id,
            cuts[:, rank],
            np.diff(cuts, axis=0).sum(axis=1),
            rank=rank,
            num_ranks=num_parts,
            shuffle=True,
            seed=seed,
        )

    def batches(rank: int, epoch: int) -> list[NDArray[np.int64]]:
        return [schedule(rank).batch(epoch, step).seeds for step in range(num_steps)]

    vip = None
    if with_vip:
        vip = exchange_between(
            [
                vip_walk(part, np.asarray(part.splits["train"]), num_steps=num_steps, fanout=fanout)
                for part in parts
            ]
        )
    return sample_traces(
        parts,
        batches,
        fanout=fanout,
        batch_size=batch_size,
        num_epochs=num_epochs,
        row_bytes=row_bytes_of(manifest),
        seed=seed,
        vip=vip,
        ranks=ranks,
    )
