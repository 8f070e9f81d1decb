"""Deciding which part owns each vertex, by any method and in two levels where there are hosts."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gnnflow.array_types import PartNumbers
from gnnflow.config import PartitionConfig
from gnnflow.errors import DataError
from gnnflow.partition.adjacency import Adjacency, build_adjacency, induce
from gnnflow.partition.ldg import cut_with_ldg, rebalance
from gnnflow.partition.metis import run_metis
from gnnflow.partition.mtkahypar import cut_with_mtkahypar
from gnnflow.partition.stage_progress import Progress
from gnnflow.process_memory import own_memory_bytes


def cut_randomly(
    is_train: npt.NDArray[np.bool_], num_parts: int, seed: int
) -> npt.NDArray[np.int32]:
    """Deals vertices out to parts in random order.

    Train seeds are dealt first and the others go on where they ended, so that both numbers
    differ by at most one between parts.

    Args:
        is_train: `[num_vertices]`.
        num_parts: Number of parts.
        seed: Seed of the order.

    Returns:
        int32 `[num_vertices]`: the part of each vertex.
    """
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(len(is_train))
    trains_first = shuffled[np.argsort(~is_train[shuffled], kind="stable")]
    part = np.empty(len(is_train), dtype=np.int32)
    part[trains_first] = np.arange(len(is_train), dtype=np.int64) % num_parts
    return part


IMBALANCE = 1.05
"""Largest part over mean part that is aimed at, for vertices, edges and train seeds alike."""


class Cutter:
    """Cuts one graph; afterwards tells what METIS cost."""

    def __init__(
        self,
        config: PartitionConfig,
        num_parts: int,
        scratch: Path,
        num_threads: int,
        progress: Progress,
    ) -> None:
        """Takes the options, settled for the graph, and a folder for files that are not kept."""
        self._config = config
        self._num_parts = num_parts
        self._scratch = scratch
        self._num_threads = num_threads
        self._progress = progress
        self.metis_s = 0.0
        """Seconds inside METIS so far."""
        self.peak_memory_bytes = 0
        """Largest memory of a partitioner's process and this one together so far."""

    def cut(
        self,
        edges: npt.NDArray[Any],
        in_degree: npt.NDArray[np.int64],
        is_train: npt.NDArray[Any],
        kept: PartNumbers | None = None,
    ) -> PartNumbers:
        """Returns the part of each vertex, none of them empty.

        Args:
            edges: `[2, num_edges]`.
            in_degree: int64 `[num_vertices]`.
            is_train: bool `[num_vertices]`.
            kept: int32 `[num_vertices]`: the parts that the graph came in, for method `keep`.

        Raises:
            DataError: If a part that is to be kept owns no vertex.
        """
        config, num_parts = self._config, self._num_parts
        num_vertices = len(in_degree)
        if config.method == "keep":
            assert kept is not None
            return _checked(kept, num_parts)
        if num_parts == 1:
            return np.zeros(num_vertices, dtype=np.int32)
        if config.method == "random":
            return cut_randomly(is_train, num_parts, config.seed)
        adjacency = build_adjacency(
            edges,
            num_vertices,
            self._scratch,
            num_threads=self._num_threads,
            progress=self._progress,
        )
        ones = np.ones(num_vertices, dtype=np.int32)
        constraints = [ones, *(column for column in (in_degree, is_train) if column.any())]
        weights = np.empty((num_vertices, len(constraints)), dtype=np.int32)
        for number, column in enumerate(constraints):
            weights[:, number] = column
        part = self._cut_levels(adjacency, weights)
        fill_empty_parts(part, num_parts, in_degree)
        return part

    def _cut_levels(self, adjacency: Adjacency, weights: npt.NDArray[np.int32]) -> PartNumbers:
        hosts = self._config.hosts
        parts_per_host = self._num_parts // hosts
        if hosts == 1 or parts_per_host == 1:
            return self._cut_once(adjacency, weights, self._num_parts, IMBALANCE)
        # What both levels leave multiplies.
        imbalance = IMBALANCE**0.5
        host = self._cut_once(adjacency, weights, hosts, imbalance)
        part = np.empty(len(host), dtype=np.int32)
        for number in range(hosts):
            members = np.flatnonzero(host == number)
            inside = induce(adjacency, members)
            within = self._cut_once(inside, weights[members], parts_per_host, imbalance)
            part[members] = number * parts_per_host + within
        return part

    def _cut_once(
        self,
        adjacency: Adjacency,
        weights: npt.NDArray[np.int32],
        num_parts: int,
        imbalance: float,
    ) -> PartNumbers:
        if adjacency.num_vertices <= num_parts:
            return np.arange(adjacency.num_vertices, dtype=np.int32)
        weights = np.ascontiguousarray(weights[:, weights.any(axis=0)])
        seed = self._config.seed
        if self._config.method == "ldg":
            part = cut_with_ldg(
                adjacency,
                weights,
                num_parts,
                seed=seed,
                imbalance=imbalance,
                progress=self._progress,
            )
        elif self._config.method == "mtkahypar":
            part, peak_memory_bytes = cut_with_mtkahypar(
                adjacency,
                weights,
                num_parts,
                seed=seed,
                imbalance=imbalance,
                scratch=self._scratch,
                num_threads=self._num_threads,
                progress=self._progress,
            )
            self._note_memory(peak_memory_bytes)
        else:
            part = self._run_metis(adjacency, weights, num_parts, imbalance)
        return rebalance(adjacency, weights, part, num_parts, seed=seed, imbalance=imbalance)

    def _run_metis(
        self,
        adjacency: Adjacency,
        weights: npt.NDArray[np.int32],
        num_parts: int,
        imbalance: float,
    ) -> PartNumbers:
        self._progress("cutting with METIS", 0, 0)
        run = run_metis(
            adjacency,
            weights,
            num_parts,
            seed=self._config.seed,
            imbalance=imbalance,
            scratch=self._scratch,
        )
        self.metis_s += run.metis_s
        self._note_memory(run.peak_memory_bytes)
        return run.part

    def _note_memory(self, solver_bytes: int) -> None:
        self.peak_memory_bytes = max(self.peak_memory_bytes, own_memory_bytes() + solver_bytes)


def _checked(kept: PartNumbers, num_parts: int) -> PartNumbers:
    empty = np.flatnonzero(np.bincount(kept, minlength=num_parts) == 0)
    if len(empty):
        raise DataError(
            f"part {empty[0]} of the graph owns no vertex and cannot be kept; "
            "cut the graph anew with --method metis"
        )
    return kept


def fill_empty_parts(part: PartNumbers, num_parts: int, in_degree: npt.NDArray[np.int64]) -> None:
    """Gives every empty part a vertex of the largest part, the one with fewest in-edges.

    Args:
        part: int32 `[num_vertices]`, at least as many as parts; changed in place.
        num_parts: Number of parts.
        in_degree: int64 `[num_vertices]`.
    """
    sizes = np.bincount(part, minlength=num_parts)
    for empty in np.flatnonzero(sizes == 0):
        members = np.flatnonzero(part == sizes.argmax())
        part[members[in_degree[members].argmin()]] = empty
        sizes = np.bincount(part, minlength=num_parts)
