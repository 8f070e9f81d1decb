"""Sampling where every vertex that is reached lies in this process."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gnnflow import _kernels
from gnnflow.errors import DataError
from gnnflow.partition import GraphPartition
from gnnflow.sampling.subgraph import SampledSubgraph


class LocalNeighborSampler:
    """Samples whole minibatches in one call of the kernel, without the GIL."""

    def __init__(
        self,
        topology: _kernels.Topology,
        *,
        seed: int = 0,
        num_threads: int = 1,
        replace: bool = False,
        with_edge_ids: bool = False,
    ) -> None:
        """Prepares a sampler over a topology that holds all parts.

        Args:
            topology: In-neighbours of all vertices that can be reached.
            seed: First number of the key from which every draw follows.
            num_threads: Threads of the kernel.
            replace: Whether a neighbour may be drawn several times.
            with_edge_ids: Whether to return the input edge numbers.
        """
        self._sampler = _kernels.NeighborSampler(topology, num_threads)
        self._seed = seed
        self._replace = replace
        self._with_edge_ids = with_edge_ids

    @classmethod
    def over_parts(cls, parts: Sequence[GraphPartition]) -> "LocalNeighborSampler":
        """Makes a sampler over all parts of a graph, in their order, with one thread."""
        topology = _kernels.Topology(parts[0].book.offsets)
        for number, part in enumerate(parts):
            topology.set_part(number, part.indptr, part.indices, part.original_id)
        return cls(topology)

    def sample(
        self, seeds: NDArray[np.int64], fanouts: Sequence[int], *, epoch: int, minibatch: int
    ) -> SampledSubgraph:
        """Samples the neighbourhood of the seeds.

        Args:
            seeds: Unique global ids `[num_seeds]`.
            fanouts: Neighbours kept per hop, seeds first; -1 keeps all.
            epoch: Epoch number.
            minibatch: Job-wide minibatch number.

        Raises:
            DataError: If seeds repeat, are out of range, or a vertex is not in the topology.
        """
        try:
            arrays = self._sampler.sample(
                seeds,
                fanouts,
                seed=self._seed,
                epoch=epoch,
                minibatch=minibatch,
                replace=self._replace,
                with_edge_ids=self._with_edge_ids,
            )
        except ValueError as error:
            raise DataError(str(error)) from error
        return SampledSubgraph.from_arrays(arrays)
